#!/usr/bin/env bash
# go-build.sh COMMAND...: builds Kubernetes' and its companions' commands from Go modules into the cache.
#
# For networks in which no release can be downloaded but a Go module proxy answers; modules are checked against Go's
# checksum database. Kubernetes, etcd and helm are one module, so that what they share is compiled once; CoreDNS wants a
# newer grpc, which must not reach Kubernetes, and is its own. Already built: left alone.
. "$(dirname "$0")/lib.sh"

declare -A PACKAGE=(
  [kube-apiserver]=k8s.io/kubernetes/cmd/kube-apiserver
  [kube-controller-manager]=k8s.io/kubernetes/cmd/kube-controller-manager
  [kube-scheduler]=k8s.io/kubernetes/cmd/kube-scheduler
  [kube-proxy]=k8s.io/kubernetes/cmd/kube-proxy
  [kubelet]=k8s.io/kubernetes/cmd/kubelet
  [kubeadm]=k8s.io/kubernetes/cmd/kubeadm
  [kubectl]=k8s.io/kubernetes/cmd/kubectl
  [etcd]=go.etcd.io/etcd/server/v3
  [helm]=helm.sh/helm/v3/cmd/helm
  [coredns]=headway.local/coredns
  [kind]=sigs.k8s.io/kind
  [crictl]=headway.local/kubernetes/crictl
  [pause]=headway.local/kubernetes/pause
)
MODULES=$CACHE/kubernetes-$K8S_VERSION/modules

# Each command's module: a folder of its own where it must not share.
module_of() { case $1 in coredns | kind) echo "$MODULES/$1" ;; *) echo "$MODULES/kubernetes" ;; esac; }

# k8s.io/kubernetes requires its own parts as v0.0.0: each is replaced by its release, v1.X.Y -> v0.X.Y.
write_modules() {
  local part staging=v0.${K8S_VERSION#v1.} module
  for module in kubernetes coredns kind; do
    mkdir -p "$MODULES/$module"
    [ -e "$MODULES/$module/go.mod" ] || (cd "$MODULES/$module" && go mod init "headway.local/$module")
  done
  cp -r "$CLUSTER_DIR"/gobuild/{crictl,pause} "$MODULES/kubernetes"
  cp "$CLUSTER_DIR/gobuild/coredns/main.go" "$MODULES/coredns"

  cd "$MODULES/kubernetes"
  for part in $(sed -n 's/^\s*\(k8s\.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$(go_mod_file "k8s.io/kubernetes@$K8S_VERSION")"); do
    go mod edit -replace "$part=$part@$staging"
  done
  go mod edit -require "k8s.io/kubernetes@$K8S_VERSION" -require "helm.sh/helm/v3@$HELM_VERSION"
  cd "$MODULES/coredns"
  go mod edit -require "github.com/coredns/coredns@$COREDNS_VERSION" -require "k8s.io/client-go@$staging" \
    -require "k8s.io/api@$staging" -require "k8s.io/apimachinery@$staging"
  cd "$MODULES/kind"
  go mod edit -require "sigs.k8s.io/kind@$KIND_VERSION"
}

go_mod_file() { go mod download -json "$1" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p'; }

# Without these the servers say that they are v0.0.0.
linker_flags() {
  local minor=${K8S_VERSION#v1.} at=k8s.io/component-base/version
  minor=${minor%%.*}
  echo "-s -w -X $at.gitVersion=$K8S_VERSION -X $at.gitMajor=1 -X $at.gitMinor=$minor" \
    "-X helm.sh/helm/v3/internal/version.version=$HELM_VERSION"
}

build() { # COMMAND; etcd's server package would be called "v3"
  cd "$(module_of "$1")"
  CGO_ENABLED=0 nice -n 5 go build -mod=mod -trimpath -ldflags "$(linker_flags)" -o "$BIN/$1.new" "${PACKAGE[$1]}"
  mv "$BIN/$1.new" "$BIN/$1"
}

main() {
  local name missing=()
  for name in "$@"; do
    [ -n "${PACKAGE[$name]:-}" ] || die "$name: not one of: ${!PACKAGE[*]}"
    [ -x "$BIN/$name" ] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v go >/dev/null || die "building ${missing[*]} from Go modules needs Go: https://go.dev/doc/install"
  say "building from Go modules, about 10 minutes when nothing is cached: ${missing[*]}"
  mkdir -p "$BIN"
  step "go.mod for Kubernetes $K8S_VERSION" write_modules
  for name in "${missing[@]}"; do step "go build $name" build "$name"; done
}

main "$@"
