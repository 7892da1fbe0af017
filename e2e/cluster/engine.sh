#!/usr/bin/env bash
# engine.sh: sees to it that a Docker engine answers.
#
# A developer's running Docker is used as it is. On a bare Debian machine, as root and without systemd (a container, a
# virtual machine for CI), the engine is installed from Debian's packages and started here.
. "$(dirname "$0")/lib.sh"

answers() { docker version >/dev/null 2>&1; }

install_packages() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    docker.io containerd runc iptables ca-certificates curl
}

# Bit 24 of the bounding set is CAP_SYS_RESOURCE.
lacks_sys_resource() { (( (0x$(sed -n 's/^CapBnd:\s*//p' /proc/self/status) >> 24 & 1) == 0 )); }

start_engine() {
  local log=$CACHE/dockerd.log options=()
  mkdir -p "$CACHE"
  if lacks_sys_resource; then
    # dockerd keeps the path for later: it must outlive this checkout
    install -D -m 0755 "$CLUSTER_DIR/engine/runc-within-bounds" "$CACHE/engine/runc-within-bounds"
    options=(--add-runtime "within-bounds=$CACHE/engine/runc-within-bounds" --default-runtime within-bounds)
  fi
  setsid nohup dockerd "${options[@]}" >>"$log" 2>&1 </dev/null &
  for _ in $(seq 120); do
    if answers; then
      iptables -P FORWARD ACCEPT  # dockerd drops what it does not know, pods' addresses among it
      return
    fi
    sleep 0.5
  done
  tail -n 20 "$log"
  return 1
}

main() {
  if answers; then return; fi
  if [ "$(id -u)" != 0 ] || [ -d /run/systemd/system ]; then
    die "no Docker engine answers: install and start Docker (https://docs.docker.com/engine/install), then run this again"
  fi
  if ! command -v dockerd >/dev/null; then
    command -v apt-get >/dev/null || die "no Docker engine here, and no apt-get to install it with"
    step "apt-get install docker.io" install_packages
  fi
  step "dockerd started" start_engine
}

main "$@"
