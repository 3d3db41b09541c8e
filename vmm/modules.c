// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/file.h"

/* Debian's largest file, modules.alias, has 1.5 MB; its longest list 15. */
#define TEXT_MAX (32 << 20)
#define LIST_MAX 1024
#define DEPTH_MAX 64
#define LOOKUPS_MAX 4096

#define NAME_SIZE 256     /* of an alias to look for */
#define PATTERN_SIZE 1024 /* of an alias in modules.alias */

/* A file's lines, each ended by a NUL. */
struct text {
	char *data;
	char **line;
	size_t lines;
};

/* A line of modules.builtin or modules.dep. */
struct module {
	const char *file;
	const char *name; /* in file, its last part */
	const char *deps; /* files, separated by blanks; NULL: it is built in */
};

struct modules {
	char *path;
	int folder; /* open at path */
	struct text dep, softdep, alias, builtin;
	struct module *module; /* first those that are built in */
	size_t count;
};

/* A module whose dependencies are being added, and those that led to it. */
struct visit {
	const struct module *module;
	const struct visit *from;
	unsigned depth;
};

/* --- Names: compared in place, so a blank or the dot of ".ko" ends them too --- */

static unsigned char name_char(char c)
{
	switch (c) {
	case '-':
		return '_';
	case '.':
	case ' ':
	case '\t':
		return '\0';
	default:
		return c;
	}
}

static bool name_equal(const char *a, const char *b)
{
	unsigned char x, y;

	do {
		x = name_char(*a++);
		y = name_char(*b++);
	} while (x && x == y);
	return x == y;
}

/* Where the name begins in the file name that starts at @file. */
static const char *file_name(const char *file)
{
	const char *name = file;

	for (; *file && *file != ' ' && *file != '\t'; file++) {
		if (*file == '/')
			name = file + 1;
	}
	return name;
}

/* --- Words of a line; NULL at its end --- */

static const char *word_first(const char *line)
{
	line += strspn(line, " \t");
	return *line ? line : NULL;
}

static const char *word_next(const char *word)
{
	return word_first(word + strcspn(word, " \t"));
}

static bool word_is(const char *word, const char *what)
{
	size_t len = strcspn(word, " \t");

	return len == strlen(what) && !memcmp(word, what, len);
}

/* --- Texts --- */

/* One array for all searches: a kernel has tens of thousands of aliases. */
static int text_split(struct text *text, size_t size)
{
	char *at, *next, *end = text->data + size;
	size_t lines = 0;

	*end = '\n';
	for (at = text->data; at < end; at = next + 1, lines++)
		next = rawmemchr(at, '\n');
	text->line = calloc(lines + 1, sizeof(*text->line));
	if (!text->line)
		return -ENOMEM;
	for (at = text->data; at < end; at = next + 1) {
		next = rawmemchr(at, '\n');
		*next = '\0';
		text->line[text->lines++] = at;
	}
	return 0;
}

static int text_read_fd(struct text *text, int fd, uint64_t size)
{
	int ret;

	if (size > TEXT_MAX)
		return -EFBIG;
	text->data = malloc(size + 1);
	if (!text->data)
		return -ENOMEM;
	ret = file_read_at(fd, text->data, size, 0);
	return ret ? ret : text_split(text, size);
}

/* Keep the lines that start with @key, and of each what comes after it. */
static void text_keep(struct text *text, const char *key)
{
	size_t kept = 0;

	for (size_t i = 0; i < text->lines; i++) {
		if (!strncmp(text->line[i], key, strlen(key)))
			text->line[kept++] = text->line[i] + strlen(key);
	}
	text->lines = kept;
}

static void text_free(struct text *text)
{
	free(text->line);
	free(text->data);
}

static int text_read(struct text *text, const struct modules *m, const char *name)
{
	uint64_t size;
	int fd = modules_open_file(m, name, &size);
	int ret = fd < 0 ? fd : text_read_fd(text, fd, size);

	if (fd >= 0)
		close(fd);
	if (ret && ret != -ENOENT && ret != -ENOMEM)
		log_error("modules '%s': cannot read %s: %s", m->path, name, strerror(-ret));
	return ret;
}

/* --- The index of modules.dep and modules.builtin --- */

static void add_to_index(struct modules *m, const char *file, const char *deps)
{
	m->module[m->count++] = (struct module){ file, file_name(file), deps };
}

static int index_modules(struct modules *m)
{
	m->module = calloc(m->builtin.lines + m->dep.lines + 1, sizeof(*m->module));
	if (!m->module)
		return -ENOMEM;
	for (size_t i = 0; i < m->builtin.lines; i++)
		add_to_index(m, m->builtin.line[i], NULL);
	for (size_t i = 0; i < m->dep.lines; i++) {
		char *colon = strchr(m->dep.line[i], ':');

		if (!colon)
			continue;
		*colon = '\0';
		add_to_index(m, m->dep.line[i], colon + 1);
	}
	return 0;
}

/* One by one: the names looked up are so few that sorting all would take longer. */
static const struct module *find_module(const struct modules *m, const char *name)
{
	for (size_t i = 0; i < m->count; i++) {
		if (name_equal(m->module[i].name, name))
			return &m->module[i];
	}
	return NULL;
}

/* --- Where a tree is --- */

static bool is_tree(const char *path, const char *version)
{
	char end[NAME_SIZE], file[PATH_MAX];
	size_t len = strlen(path);
	int end_len;

	if (snprintf(file, sizeof(file), "%s/modules.dep", path) >= PATH_MAX)
		return false;
	if (!access(file, F_OK))
		return true;
	/* Not yet seen by depmod, which asks for exactly this form. */
	snprintf(file, sizeof(file), "%s/kernel", path);
	end_len = snprintf(end, sizeof(end), "/lib/modules/%s", version);
	return len >= (size_t)end_len && !strcmp(path + len - end_len, end) && !access(file, F_OK);
}

/* A search: the places seen so far, and the tree once found. */
struct search {
	const char *version;
	bool trusted; /* only a tree of somebody whom the user trusts already */
	uid_t owner;  /* of the kernel: who may also bring its modules */
	FILE *looked;
	char *path;
};

/*
 * Above a kernel in /tmp, say, anybody can put a tree: it must be root's, the
 * user's own, or belong to whom the kernel belongs.
 */
static bool is_trusted(const struct search *s, const char *path)
{
	struct stat st;

	return !s->trusted || (stat(path, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid() ||
							st.st_uid == s->owner));
}

static void look_at(struct search *s, const char *folder, const char *middle)
{
	char path[PATH_MAX];

	if (s->path || snprintf(path, sizeof(path), "%s%s%s", folder, middle,
				*middle ? s->version : "") >= PATH_MAX)
		return;
	if (!is_tree(path, s->version)) {
		fprintf(s->looked, "%s\n", path);
	} else if (!is_trusted(s, path)) {
		fprintf(s->looked, "%s (another user's)\n", path);
	} else {
		fprintf(s->looked, "%s\n", path);
		s->path = strdup(path);
	}
}

static void look_under(struct search *s, const char *folder)
{
	look_at(s, folder, "/lib/modules/");
	look_at(s, folder, "/usr/lib/modules/");
}

/* Look in @folder, as --modules names it. */
static int look_in_folder(struct search *s, const char *folder)
{
	char *real = realpath(folder, NULL);

	if (!real) {
		int ret = -errno;

		log_error("modules '%s': %s", folder, strerror(-ret));
		return ret;
	}
	look_under(s, real);
	look_at(s, real, "/");
	look_at(s, real, "");
	free(real);
	return 0;
}

static int look_around_kernel(struct search *s, const char *kernel)
{
	char *real = realpath(kernel, NULL);
	struct stat st;
	char *slash;

	if (!real || stat(real, &st)) {
		int ret = -errno;

		log_error("kernel '%s': %s", kernel, strerror(-ret));
		free(real);
		return ret;
	}
	s->trusted = true;
	s->owner = st.st_uid;
	/* The last round leaves "", under which the root folder is looked at. */
	while ((slash = strrchr(real, '/'))) {
		*slash = '\0';
		look_under(s, real);
	}
	free(real);
	return 0;
}

int modules_find(const char *folder, const char *kernel, const char *version, char **path,
		 char **looked)
{
	struct search s = { .version = version };
	size_t size;
	int ret = 0;

	*path = *looked = NULL;
	s.looked = open_memstream(looked, &size);
	if (!s.looked)
		return -errno;
	if (folder)
		ret = look_in_folder(&s, folder);
	if (!ret)
		ret = look_around_kernel(&s, kernel);
	fclose(s.looked);
	*path = s.path;
	return ret || *looked ? ret : -ENOMEM;
}

/* --- Opening --- */

/* @path ends with /lib/modules/VERSION (is_tree); depmod -b wants what is before. */
static void say_depmod(const char *path, const char *version)
{
	size_t end = strlen("/lib/modules/") + strlen(version);
	size_t len = strlen(path);

	len = len > end ? len - end : 0;
	log_error("modules '%s': modules.dep is missing: run depmod -b %.*s %s", path,
		  (int)(len ? len : 1), len ? path : "/", version);
}

static int read_texts(struct modules *m, const char *version)
{
	struct {
		const char *name;
		struct text *text;
	} optional[] = {
		{ "modules.softdep", &m->softdep },
		{ "modules.alias", &m->alias },
		{ "modules.builtin", &m->builtin },
	};
	int ret;

	m->folder = open(m->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (m->folder < 0) {
		ret = -errno;
		log_error("modules '%s': %s", m->path, strerror(-ret));
		return ret;
	}
	ret = text_read(&m->dep, m, "modules.dep");
	if (ret == -ENOENT)
		say_depmod(m->path, version);
	for (size_t i = 0; !ret && i < array_size(optional); i++) {
		ret = text_read(optional[i].text, m, optional[i].name);
		if (ret == -ENOENT)
			ret = 0;
	}
	text_keep(&m->alias, "alias ");
	return ret;
}

int modules_open(const char *path, const char *version, struct modules **modules)
{
	struct modules *m = calloc(1, sizeof(*m));
	int ret = -ENOMEM;

	if (!m)
		return ret;
	m->folder = -1;
	m->path = strdup(path);
	if (m->path)
		ret = read_texts(m, version);
	if (!ret)
		ret = index_modules(m);
	if (ret) {
		modules_close(m);
		return ret;
	}
	*modules = m;
	return 0;
}

void modules_close(struct modules *m)
{
	if (!m)
		return;
	free(m->module);
	text_free(&m->builtin);
	text_free(&m->alias);
	text_free(&m->softdep);
	text_free(&m->dep);
	if (m->folder >= 0)
		close(m->folder);
	free(m->path);
	free(m);
}

int modules_open_file(const struct modules *m, const char *file, uint64_t *size)
{
	/* modules.dep is a stranger's: the guest must not get the host's files by it. */
	return file_open_beneath(m->folder, file, size);
}

/* --- The order of loading --- */

bool modules_is_builtin(const struct modules *m, const char *name)
{
	const struct module *module = find_module(m, name);

	return module && !module->deps;
}

static int add_name(const struct modules *m, const char *name, const struct visit *from,
		    struct modules_list *list);

/* The targets after "pre:" in the lines "softdep NAME ... pre: A B post: C". */
static int add_softdeps(const struct modules *m, const struct visit *visit,
			struct modules_list *list)
{
	for (size_t i = 0; i < m->softdep.lines; i++) {
		const char *word = word_first(m->softdep.line[i]);
		bool pre = false;

		if (!word || !word_is(word, "softdep"))
			continue;
		word = word_next(word);
		if (!word || !name_equal(word, visit->module->name))
			continue;
		while ((word = word_next(word))) {
			if (word_is(word, "pre:") || word_is(word, "post:")) {
				pre = word_is(word, "pre:");
			} else if (pre) {
				int ret = add_name(m, word, visit, list);

				if (ret)
					return ret;
			}
		}
	}
	return 0;
}

static int list_append(const struct modules *m, struct modules_list *list, const char *file)
{
	const char **grown;

	if (list->count >= LIST_MAX) {
		log_error("modules '%s': more than %d modules depend on each other", m->path,
			  LIST_MAX);
		return -E2BIG;
	}
	grown = reallocarray(list->file, list->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->file = grown;
	list->file[list->count++] = file;
	return 0;
}

static int add_deps(const struct modules *m, const struct visit *visit, struct modules_list *list)
{
	int ret = 0;

	for (const char *word = word_first(visit->module->deps); !ret && word;
	     word = word_next(word))
		ret = add_name(m, file_name(word), visit, list);
	return ret;
}

static int add_module(const struct modules *m, const struct module *module,
		      const struct visit *from, struct modules_list *list)
{
	struct visit visit = { module, from, from ? from->depth + 1 : 1 };
	int ret;

	if (!module->deps)
		return 0; /* built in */
	/* In a cycle one of them has to come first: the one met last. */
	for (; from; from = from->from) {
		if (from->module == module)
			return 0;
	}
	for (size_t i = 0; i < list->count; i++) {
		if (list->file[i] == module->file)
			return 0;
	}
	if (visit.depth > DEPTH_MAX) {
		log_error("modules '%s': dependencies nest deeper than %d at '%s'", m->path,
			  DEPTH_MAX, module->file);
		return -ELOOP;
	}
	ret = add_softdeps(m, &visit, list);
	if (!ret)
		ret = add_deps(m, &visit, list);
	return ret ? ret : list_append(m, list, module->file);
}

/* Copy the word, with '-' as '_' but where it means a range. */
static bool copy_alias(char *dst, size_t size, const char *word)
{
	size_t len = strcspn(word, " \t");
	bool range = false;

	if (len >= size)
		return false;
	for (size_t i = 0; i < len; i++) {
		range = word[i] == '[' || (range && word[i] != ']');
		dst[i] = word[i] == '-' && !range ? '_' : word[i];
	}
	dst[len] = '\0';
	return true;
}

/* False if a difference comes before any wildcard: spares fnmatch() most lines. */
static bool may_match(const char *pattern, const char *name)
{
	/* A '.' would count as the end of either. */
	while (*name && *name != '.' && name_char(*pattern) == name_char(*name))
		pattern++, name++;
	switch (*pattern) {
	case '*':
	case '?':
	case '[':
	case '\\':
	case '.':
	case '\0':
		return true;
	default:
		return *name == '.' || (!*name && !name_char(*pattern));
	}
}

/* All modules that the lines "alias PATTERN MODULE" give for @word. */
static int add_aliased(const struct modules *m, const char *word, const struct visit *from,
		       struct modules_list *list)
{
	char name[NAME_SIZE], pattern[PATTERN_SIZE];

	if (!copy_alias(name, sizeof(name), word))
		return 0;
	for (size_t i = 0; i < m->alias.lines; i++) {
		const char *alias = m->alias.line[i], *target;
		const struct module *module;
		int ret;

		if (!may_match(alias, name))
			continue;
		target = word_next(alias);
		if (!target || !copy_alias(pattern, sizeof(pattern), alias) ||
		    fnmatch(pattern, name, 0))
			continue;
		module = find_module(m, target);
		ret = module ? add_module(m, module, from, list) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

static int add_name(const struct modules *m, const char *name, const struct visit *from,
		    struct modules_list *list)
{
	const struct module *module;

	/* A line of the files can be long, and each name in it costs a search. */
	if (++list->lookups > LOOKUPS_MAX) {
		log_error("modules '%s': more than %d names to look up", m->path, LOOKUPS_MAX);
		return -E2BIG;
	}
	module = find_module(m, name);
	return module ? add_module(m, module, from, list) : add_aliased(m, name, from, list);
}

int modules_add(const struct modules *m, const char *name, struct modules_list *list)
{
	return add_name(m, name, NULL, list);
}

void modules_list_free(struct modules_list *list)
{
	free(list->file);
	*list = (struct modules_list){ 0 };
}
