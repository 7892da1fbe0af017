# Shared by the scripts in this folder (sourced, never run): versions, cache folders, and one line of progress per step.
set -euo pipefail

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO_DIR=$(cd "$CLUSTER_DIR/../.." && pwd)

K8S_VERSION=${E2E_K8S_VERSION:-v1.34.4}          # Kubernetes of the binaries and of the node image built here
ENVTEST_VERSION=${E2E_ENVTEST_VERSION:-v1.34.1}  # published apart from Kubernetes, and not for every patch
KIND_VERSION=v0.33.0
HELM_VERSION=v3.19.5                             # built on the same k8s.io modules as Kubernetes 1.34
COREDNS_VERSION=v1.12.4                          # the first on the k8s.io modules of Kubernetes 1.34
CLUSTER_NAME=${E2E_CLUSTER:-headway-e2e}

CACHE=${HEADWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/headway}
BIN=$CACHE/kubernetes-$K8S_VERSION/bin           # what `go build` or the release tarball leaves here
STATE=$REPO_DIR/.e2e                             # this checkout's cluster: kubeconfig, kind config, shared folder
OURS=$STATE/kubeconfig                           # of the kind cluster made here; E2E_KUBECONFIG names one made elsewhere
unset KUBECONFIG                                 # never the ambient cluster

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# step MESSAGE COMMAND...: run it quietly in a subshell, say how long it took; show its output only when it fails.
# (Not `if "$@"`: a condition would switch `set -e` off inside the command.)
step() {
  local message=$1 begun=$SECONDS log status
  shift
  log=$(mktemp)
  set +e
  (set -e; "$@") >"$log" 2>&1
  status=$?
  set -e
  if [ "$status" != 0 ]; then
    tail -n 60 "$log" >&2
    die "$message failed after $((SECONDS - begun)) s (whole log: $log)"
  fi
  say "$message: $((SECONDS - begun)) s"
  rm -f "$log"
}

# A fingerprint of files and words: what an image was built from is kept as its label, so that nothing is built twice.
fingerprint() {
  local argument
  for argument in "$@"; do
    if [ -e "$argument" ]; then find "$argument" -type f -print0 | sort -z | xargs -0 sha256sum | cut -d' ' -f1; else echo "$argument"; fi
  done | sha256sum | cut -c1-16
}

# image_is_current NAME FINGERPRINT
image_is_current() {
  [ "$(docker image inspect --format '{{ index .Config.Labels "headway.fingerprint" }}' "$1" 2>/dev/null)" = "$2" ]
}

# build_image NAME FINGERPRINT FOLDER [docker build options]: the classic builder, which every Docker engine has.
build_image() {
  local name=$1 mark=$2 folder=$3
  shift 3
  DOCKER_BUILDKIT=0 docker build --network host --label "headway.fingerprint=$mark" -t "$name" "$@" "$folder"
}

# Can this engine pull from Docker Hub, directly or through its mirror? Asked with an image of a few kilobytes.
can_pull() { timeout 20 docker pull -q hello-world:latest >/dev/null 2>&1; }

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# bake NAME FINGERPRINT NODE_IMAGE IMAGE...: a node image that has the images in its containerd from the first second.
bake() {
  local name=$1 mark=$2 node=$3 entrypoint
  shift 3
  container=$(docker run --detach --privileged --entrypoint containerd "$node")
  trap 'docker rm --force --volumes "$container"' EXIT  # of the subshell: gigabytes, whatever happens
  for _ in $(seq 60); do
    if docker exec "$container" ctr version; then break; fi
    sleep 0.5
  done
  docker save "$@" | docker exec -i "$container" ctr -n k8s.io images import --snapshotter overlayfs -
  # The unpacked snapshots are what pods run from: the packed layers beside them would double each node's size.
  # Forgotten, then deleted here: containerd's own collection comes some time later.
  docker exec "$container" sh -c '
    cd /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256
    for layer in $(find . -size +1M -printf "%f "); do ctr -n k8s.io content rm "sha256:$layer"; rm -f "$layer"; done'
  docker kill --signal TERM "$container"  # "docker stop" would send systemd's signal, which containerd does not know
  docker wait "$container"
  entrypoint=$(docker image inspect --format '{{ json .Config.Entrypoint }}' "$node")
  docker commit --change "ENTRYPOINT $entrypoint" --change "LABEL headway.fingerprint=$mark" "$container" "$name"
}

# need_space BYTES WHAT: die where the engine's disk has less left.
need_space() {
  local root free
  root=$(docker info --format '{{ .DockerRootDir }}')
  [ -d "$root" ] || return 0  # the engine is on another machine
  free=$(df --output=avail --block-size=1 "$root" | tail -1)
  [ "$free" -ge "$1" ] || die "$2 needs $(($1 >> 30)) GiB free under $root, there are $((free >> 30)): docker system prune"
}

arch() { case $(uname -m) in x86_64) echo amd64 ;; aarch64 | arm64) echo arm64 ;; *) uname -m ;; esac; }

# fetch URL FILE: fails within seconds where there is no way out.
fetch() { curl --fail --silent --location --connect-timeout 5 --max-time 300 --output "$2" "$1"; }

# fetch_checked URL FILE SUM_URL: the sum is the first word of what SUM_URL answers (SHA-256, as its publishers do).
fetch_checked() {
  local sum
  sum=$(curl --fail --silent --location --connect-timeout 5 --max-time 30 "$3") || return 1
  fetch "$1" "$2" || return 1
  echo "${sum%% *}  $2" | sha256sum --check --quiet || die "$1: does not match its published checksum"
}
