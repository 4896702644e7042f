#!/usr/bin/env bash
# Installs the Debian packages that building pgspan's images and running its lab need. On another system, or without root, it
# only says what is missing.
set -euo pipefail

declare -A needed=(
	[gcc]=gcc [pkg-config]=pkg-config [ip]=iproute2 [nft]=nftables [mkfs.xfs]=xfsprogs [losetup]=mount
	[buildah]=buildah [mmdebstrap]=mmdebstrap [nsenter]=util-linux [iptables]=iptables
)
missing=()
for program in "${!needed[@]}"; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${needed[$program]}")
done
[ -e /usr/include/seccomp.h ] || missing+=(libseccomp-dev) # runc, by cgo
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]} (Debian package names). Install them, or run this as root on Debian 12." >&2
	exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
