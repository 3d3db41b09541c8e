// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/registers.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hw/base/log.h"

static void print_segment(const char *name, const struct kvm_segment *s)
{
	log_error("  %-4s %04x  base %016llx  limit %08x  type %x  s %u  dpl %u  p %u  l %u  db %u",
		  name, s->selector, s->base, s->limit, s->type, s->s, s->dpl, s->present, s->l,
		  s->db);
}

void registers_print(int vcpu_fd)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(vcpu_fd, KVM_GET_REGS, &r) || ioctl(vcpu_fd, KVM_GET_SREGS, &s)) {
		log_error("cannot read the vCPU's registers: %s", strerror(errno));
		return;
	}
	log_error("  rip %016llx  rsp %016llx  rflags %016llx", r.rip, r.rsp, r.rflags);
	log_error("  rax %016llx  rbx %016llx  rcx    %016llx", r.rax, r.rbx, r.rcx);
	log_error("  rdx %016llx  rsi %016llx  rdi    %016llx", r.rdx, r.rsi, r.rdi);
	log_error("  rbp %016llx  r8  %016llx  r9     %016llx", r.rbp, r.r8, r.r9);
	log_error("  r10 %016llx  r11 %016llx  r12    %016llx", r.r10, r.r11, r.r12);
	log_error("  r13 %016llx  r14 %016llx  r15    %016llx", r.r13, r.r14, r.r15);
	log_error("  cr0 %016llx  cr2 %016llx  cr3    %016llx", s.cr0, s.cr2, s.cr3);
	log_error("  cr4 %016llx  efer %015llx  apic   %016llx", s.cr4, s.efer, s.apic_base);
	print_segment("cs", &s.cs);
	print_segment("ss", &s.ss);
	print_segment("ds", &s.ds);
	print_segment("es", &s.es);
	print_segment("fs", &s.fs);
	print_segment("gs", &s.gs);
	print_segment("tr", &s.tr);
	print_segment("ldt", &s.ldt);
	log_error("  gdt  base %016llx  limit %04x", s.gdt.base, s.gdt.limit);
	log_error("  idt  base %016llx  limit %04x", s.idt.base, s.idt.limit);
}
