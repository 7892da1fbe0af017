#!/usr/bin/env bash
# base-image.sh: prints the image to pass as --build-arg BASE_IMAGE= to our Dockerfiles.
#
# E2E_BASE_IMAGE if set, the published Python image where it can be had, else one made here with debootstrap: Debian
# with its own Python, made to look like the published one, trusting whom this machine trusts (certificates, pip's
# settings). All that is built here stays in the Docker engine and is found there the next time.
. "$(dirname "$0")/lib.sh"

PUBLISHED=python:3.12-slim-bookworm
BUILT=headway.local/python:bookworm
SUITE=bookworm
PACKAGES=python3,python3-pip,python3-venv,ca-certificates

# The mirror that this machine's own apt uses.
mirror() {
  local uri
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $SUITE" 2>/dev/null | head -n 1)
  echo "${uri:-http://deb.debian.org/debian}"
}

install_debootstrap() {
  command -v debootstrap >/dev/null && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
}

# This machine's pip settings, less what names its own files.
pip_settings() {
  echo '[global]'
  echo 'cert = /etc/ssl/certs/ca-certificates.crt'
  python3 -m pip config list 2>/dev/null \
    | sed -n "s/^\(global\|:env:\)\.\(index-url\|extra-index-url\|trusted-host\|proxy\|timeout\|default-timeout\)='\(.*\)'\$/\2 = \3/p"
}

make_root() { # FOLDER
  local root=$1
  debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" "$(mirror)"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  pip_settings >"$root/etc/pip.conf"
  ln -s python3 "$root/usr/bin/python"
  rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED  # as in the published image, pip may install system-wide
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
}

import_root() { # FOLDER
  tar -C "$1" --exclude=./dev --exclude=./proc --exclude=./sys -c . | docker import \
    --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin LANG=C.UTF-8' \
    --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
    --change 'CMD ["python3"]' - "$BUILT"
}

main() {
  if [ -n "${E2E_BASE_IMAGE:-}" ]; then echo "$E2E_BASE_IMAGE"; return; fi
  "$CLUSTER_DIR/engine.sh"
  if have_image "$BUILT"; then echo "$BUILT"; return; fi
  if have_image "$PUBLISHED" || { can_pull && docker pull -q "$PUBLISHED" >/dev/null; }; then echo "$PUBLISHED"; return; fi
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    || die "$PUBLISHED cannot be pulled, and debootstrap needs root on Debian: name an image in E2E_BASE_IMAGE"
  say "$PUBLISHED cannot be pulled: making $BUILT with debootstrap, about 90 s"
  step "debootstrap installed" install_debootstrap
  root=$(mktemp -d)  # not local: the trap outlives this function
  trap 'rm -rf "$root"' EXIT
  step "debootstrap $SUITE" make_root "$root"
  step "$BUILT imported" import_root "$root"
  echo "$BUILT"
}

main "$@"
