# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# Sourced by the scripts of this folder. Packages are downloaded and unpacked,
# never installed: the machine stays as it is and root is not needed. The option
# list APT makes apt use lists and a cache of our own where that matters.

APT=(-q -o Acquire::Retries=3 -o Acquire::http::Timeout=30
     -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root
     -o APT::Install-Recommends=false)

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# die_of LOG WHAT: WHAT failed, and the line of apt's output that says most about it.
die_of()
{
	local cause
	cause=$(grep '^E: Failed' "$1" || grep '^E:' "$1" || tail -n 1 "$1")
	die "$2: ${cause##*$'\n'}"
}

# The machine's release of Debian, such as bookworm.
release()
{
	(. /etc/os-release && echo "${VERSION_CODENAME:-}")
}

# repository_of SUITE: where the machine's own sources have it from.
repository_of()
{
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' |
		awk -v suite="$1" '$1 == suite && !found++ { print $2 }' | grep .
}

# sources_of SUITE: lines for a sources list: the suite, which is in the
# repository of the machine's release if apt knows no better, and its updates.
sources_of()
{
	local from
	from=$(repository_of "$1" || repository_of "$(release)") || die "apt has no source for '$1'"
	! repository_of "$1-security" > /dev/null ||
		echo "deb $(repository_of "$1-security") $1-security main"
	echo "deb $from $1 main"
}

# apt_own_state DIR [SOURCES]: from here on keep lists and cache in DIR, with the
# machine's sources or those of the file SOURCES, and bring the lists up to date.
apt_own_state()
{
	mkdir -p "$1/lists/partial" "$1/archives/partial"
	APT+=(-o "Dir::State::lists=$1/lists" -o "Dir::Cache=$1")
	if [ $# -gt 1 ]; then
		APT+=(-o "Dir::Etc::sourcelist=$2" -o Dir::Etc::sourceparts=/dev/null)
	fi
	apt-get "${APT[@]}" update
}

# apt_unpack DIR PACKAGE...: download the packages and unpack them all into DIR.
apt_unpack()
{
	local dir=$1 deb
	shift
	mkdir -p "$dir/debs"
	(cd "$dir/debs" && apt-get "${APT[@]}" download "$@") || return
	for deb in "$dir"/debs/*.deb; do
		dpkg -x "$deb" "$dir" || return
	done
	rm -r "$dir/debs"
}

# with_fresh_lists DIR COMMAND...: run COMMAND with the machine's lists; when these
# are absent or out of date, once more with fresh lists of our own in DIR. One
# source of many that cannot be reached is no reason to give up.
with_fresh_lists()
{
	local state=$1
	shift
	"$@" || { apt_own_state "$state" || true; "$@"; }
}

# publish NEW DIR: NEW becomes DIR, unless another process was faster.
publish()
{
	rm -rf "$1/apt"
	mv -T "$1" "$2" 2>/dev/null || rm -rf "$1"
}
