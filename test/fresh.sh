#!/usr/bin/env bash
# Proves the install steps of the README: a bookworm tree that has Go, git and make and nothing else of what the project needs, with
# empty caches, in which a clone of this commit builds everything, passes its unit and chart tests, and brings up a lab.
# Takes about 45 minutes on two cores. Root on Debian. Keeps the tree on failure and says where.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "make fresh needs root: it makes a root file system and enters it" >&2; exit 1; }
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
	echo "note: what is not committed is not in the clone" >&2
fi
tree=$(mktemp -d "${TMPDIR:-/var/tmp}/pgspan-fresh.XXXXXX")
go_root=$(go env GOROOT)
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

inside() {
	unshare --mount --pid --fork --kill-child --propagation private \
		chroot "$tree" /usr/bin/env -i HOME=/root PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		TERM=dumb GOPROXY="$(go env GOPROXY)" GOSUMDB="$(go env GOSUMDB)" GOFLAGS=-modcacherw \
		bash -euc "mount -t proc proc /proc; mount -t sysfs -o ro sys /sys 2>/dev/null || true; cd /root/pgspan 2>/dev/null || cd /; $1"
}
clean_up() {
	for sub in sys/fs/cgroup sys dev; do mountpoint -q "$tree/$sub" && umount -R -l "$tree/$sub"; done
	true
}
trap clean_up EXIT

step "a bookworm tree with Go, git and make"
test/deps.sh
mmdebstrap --quiet --variant=minbase --include=ca-certificates,git,make,apt bookworm "$tree"
cp /etc/resolv.conf "$tree/etc/resolv.conf"
# A machine behind a proxy that looks into TLS trusts that proxy's authority; so must anything on it.
if [ -d /usr/local/share/ca-certificates ]; then
	cp -a /usr/local/share/ca-certificates/. "$tree/usr/local/share/ca-certificates/"
	chroot "$tree" update-ca-certificates >/dev/null
fi
cp -a "$go_root" "$tree/usr/local/go"
mount --rbind /dev "$tree/dev"
mount --make-rslave "$tree/dev"
mount --rbind /sys "$tree/sys"
mount --make-rslave "$tree/sys"
git clone -q . "$tree/root/pgspan"

step "make deps"; inside "make deps"
step "make agents"; inside "make agents"
step "make lab"; inside "make lab"
step "make images"; inside "make images"
step "make check"; inside "make check"
step "bin/lab up with one site of one node"; inside "bin/lab up --sites a --nodes 1 && bin/lab status && bin/lab down"

clean_up
trap - EXIT
rm -rf --one-file-system "$tree"
printf '\nfresh: all install steps work on a bare bookworm (%s s)\n' "$SECONDS"
