#!/usr/bin/env bash
# Installs the Debian packages that building pgspan's images and running its lab need; with the word "images" those of the images only, and none
# where docker or podman builds them. On another system, or without root, it only says what is missing.
set -euo pipefail

if [ "${1:-}" = images ]; then
	if docker info >/dev/null 2>&1 || command -v podman >/dev/null; then exit 0; fi
fi

declare -A needed=(
	[gcc]=gcc [pkg-config]=pkg-config [ip]=iproute2 [nft]=nftables [mkfs.xfs]=xfsprogs [losetup]=mount
	[buildah]=buildah [mmdebstrap]=mmdebstrap [nsenter]=util-linux [iptables]=iptables
)
[ "${1:-}" != images ] || needed=([buildah]=buildah [mmdebstrap]=mmdebstrap)
missing=()
for program in "${!needed[@]}"; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${needed[$program]}")
done
if [ "${1:-}" != images ]; then
	[ -e /usr/include/seccomp.h ] || missing+=(libseccomp-dev) # runc, by cgo
	[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]} (Debian package names). Install them, or run this as root on Debian 12." >&2
	exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
