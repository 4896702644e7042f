#!/usr/bin/env bash
# Proves the install steps of the README: a bookworm tree that has Go, git and make and nothing else of what the project needs, with
# empty caches, in which a clone of this commit builds everything, passes its unit and chart tests, and brings up a lab.
# Takes about 45 minutes on two cores. Root on Debian. On failure it keeps the tree and says how to go on in it with the present commit, from the
# step that failed.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "make fresh needs root: it makes a root file system and enters it" >&2; exit 1; }
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
	echo "note: what is not committed is not in the clone" >&2
fi
tree=${FRESH_TREE:-$(mktemp -d "${TMPDIR:-/var/tmp}/pgspan-fresh.XXXXXX")}
go_root=$(go env GOROOT)
# step runs a command inside the tree, unless it has succeeded there before.
step() {
	if [ -e "$tree/var/fresh/$1" ]; then echo "== $1: done before"; return; fi
	printf '\n== %s (%s s)\n' "$1" "$SECONDS"
	inside "$2"
	touch "$tree/var/fresh/$1"
}

# inside runs a command with the tree as the root of a mount namespace of its own. A chroot would not do: a process that enters a mount namespace,
# as the lab's nodes are entered, comes out at the root of that namespace.
inside() {
	unshare --mount --pid --fork --kill-child --propagation private \
		sh -euc 'cd "$1"; pivot_root . .; mount -t proc proc /proc; umount -c -l .; cd /; shift; exec "$@"' sh "$tree" \
		/usr/bin/env -i HOME=/root PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		TERM=dumb GOPROXY="$(go env GOPROXY)" GOSUMDB="$(go env GOSUMDB)" GOFLAGS=-modcacherw \
		bash -euc "cd /root/pgspan 2>/dev/null || cd /; $1"
}
clean_up() {
	code=$?
	if mountpoint -q "$tree"; then umount -R -l "$tree"; fi
	if [ "$code" -ne 0 ]; then echo "the tree is kept: FRESH_TREE=$tree make fresh goes on in it; rm -rf --one-file-system $tree removes it" >&2; fi
}
trap clean_up EXIT

if [ ! -d "$tree/var/fresh" ]; then
	echo "== a bookworm tree with Go, git and make"
	test/deps.sh
	mmdebstrap --quiet --variant=minbase --include=ca-certificates,git,make,apt bookworm "$tree"
	cp /etc/resolv.conf "$tree/etc/resolv.conf"
	# A machine behind a proxy that looks into TLS trusts that proxy's authority; so must anything on it.
	if [ -d /usr/local/share/ca-certificates ]; then
		cp -a /usr/local/share/ca-certificates/. "$tree/usr/local/share/ca-certificates/"
		chroot "$tree" update-ca-certificates >/dev/null
	fi
	cp -a "$go_root" "$tree/usr/local/go"
	mkdir "$tree/var/fresh"
fi
# Its root must be a mount of its own: programs that enter a directory by chroot, as buildah does, make "/" private first.
mount --bind "$tree" "$tree"
mount --make-private "$tree"
mount --rbind /dev "$tree/dev"
mount --make-rslave "$tree/dev"
mount --rbind /sys "$tree/sys"
mount --make-rslave "$tree/sys"
rm -rf "$tree/root/pgspan"
git clone -q . "$tree/root/pgspan"

step deps "make deps"
step agents "make agents"
step lab "make lab"
step images "make images"
step check "make check"
step up "make lab && bin/lab up --sites a --nodes 1 && bin/lab status && bin/lab down" # bin/lab is new in each clone; what it runs is cached

clean_up
trap - EXIT
rm -rf --one-file-system "$tree"
printf '\nfresh: all install steps work on a bare bookworm (%s s)\n' "$SECONDS"
