#!/bin/sh
# Installs what is missing on a Debian machine and starts the Docker engine. Says nothing when
# there is nothing to do.
#
#   scripts/install.sh [run]   what `make run` needs: a linker, a Docker engine, an image to try
#   scripts/install.sh test    the same, and what `make test` needs: rustfmt, clippy, curl, openssl,
#                              Chromium, a Python venv, promtool
#   scripts/install.sh bench   what `make bench` needs besides: a load generator
#   scripts/install.sh power-cut   what `make power-cut` needs besides: a virtual machine
set -eu
cd "$(dirname "$0")/.."

say() { echo "==> $*"; }
fail() { echo "install: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: as it is, or by sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif has sudo; then sudo "$@"
    else fail "this needs root, and there is no sudo here; once, as root: $PWD/scripts/install.sh"
    fi
}

# Installs Debian packages; fetches the package lists only when the ones here do not do.
packages() {
    has apt-get || fail "no apt-get here: install the equivalent of Debian's $* yourself"
    as_root true
    say "installing $*"
    try_packages "$@" >/dev/null 2>&1 && return
    say "updating the package lists"
    as_root apt-get -q update >/dev/null || fail "apt-get update failed; see above"
    try_packages "$@" >/dev/null || fail "apt-get could not install $*; see above"
}

try_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
}

engine_answers() { docker info >/dev/null 2>&1; }

# Whether the process that the engine's pid file names is an engine, and not a dead one.
dockerd_lives() {
    pid=$(cat /var/run/docker.pid 2>/dev/null) || return 1
    grep -qs '^dockerd$' "/proc/$pid/comm" && ! grep -qs '^State:.*Z' "/proc/$pid/status"
}

# Starts the Docker engine: by systemd where that runs, by hand elsewhere (containers, bare
# machines, hosts where policy-rc.d keeps packages from starting anything).
start_engine() {
    log=/var/log/dockerd-by-hand.log
    if [ -d /run/systemd/system ]; then
        say "starting the Docker engine (systemctl start docker)"
        as_root systemctl start docker || fail "see: journalctl -u docker"
    else
        say "starting the Docker engine by hand; its log is $log"
        # Left behind by an engine that was killed; its number may be another process's by now.
        dockerd_lives || as_root rm -f /var/run/docker.pid
        as_root sh -c "setsid dockerd >>$log 2>&1 </dev/null &"
    fi
    for _ in $(seq 60); do
        engine_answers && return
        sleep 0.5
    done
    if as_root docker info >/dev/null 2>&1; then
        fail "the Docker engine runs, but not for you: sudo usermod -aG docker $(id -un)," \
            "log in again, then try again"
    fi
    [ ! -e $log ] || as_root tail -n 20 $log >&2
    fail "the Docker engine did not start within 30 s; its last words are above"
}

# An image made from the distribution's static busybox: needs no registry.
busybox_image() {
    say "making the image busybox:local"
    [ -x /bin/busybox ] && [ "$(dpkg-query -Wf '${Status}' busybox-static 2>/dev/null)" \
        = 'install ok installed' ] || packages busybox-static
    root=$(mktemp -d)
    mkdir "$root/bin" "$root/etc" "$root/tmp"
    cp /bin/busybox "$root/bin/"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    tar -C "$root" --owner=0 --group=0 -c . |
        docker import --change 'CMD ["sh"]' - busybox:local >/dev/null
    rm -rf "$root"
}

# The tools that come from PyPI, in ./.venv; made again when scripts/requirements.txt changes.
python_venv() {
    stamp=.venv/installed-requirements.txt
    if cmp -s scripts/requirements.txt $stamp; then return; fi
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages python3 python3-venv
    say "installing the old client, Keystone, schemathesis and others into .venv"
    python3 -m venv --clear .venv
    .venv/bin/pip --quiet --disable-pip-version-check install --use-pep517 -r scripts/requirements.txt
    cp scripts/requirements.txt $stamp
}

# The checker of metrics, out of the package of Prometheus: installing that would start a server.
promtool() {
    [ -x .venv/bin/promtool ] && return
    has dpkg-deb || fail "no dpkg-deb here: put promtool of Prometheus into .venv/bin yourself"
    say "taking promtool out of the package prometheus"
    taken=$(mktemp -d)
    (cd "$taken" && apt-get -q download prometheus >/dev/null 2>&1) || {
        as_root apt-get -q update >/dev/null || fail "apt-get update failed; see above"
        (cd "$taken" && apt-get -q download prometheus >/dev/null) || fail "no package prometheus"
    }
    dpkg-deb --fsys-tarfile "$taken"/prometheus_*.deb | tar -xO ./usr/bin/promtool \
        >"$taken/promtool"
    install -m 755 "$taken/promtool" .venv/bin/promtool
    rm -rf "$taken"
}

rust_component() {
    cargo "$2" --version >/dev/null 2>&1 && return
    has rustup || fail "cargo $2 is missing, and there is no rustup to add it: install $1"
    say "adding $1"
    rustup --quiet component add "$1"
}

has cargo || fail "no cargo here: install Rust first (https://rustup.rs)"
has cc || packages gcc libc6-dev
has dockerd || packages docker.io
has docker || packages docker-cli
engine_answers || start_engine
docker image inspect busybox:local >/dev/null 2>&1 || busybox_image
case "${1-run}" in
run) ;;
test)
    rust_component rustfmt fmt
    rust_component clippy clippy
    has docker-registry || packages docker-registry
    has bash || packages bash
    has curl || packages curl
    has make || packages make
    has openssl || packages openssl
    has chromium || packages chromium
    python_venv
    promtool
    ;;
bench)
    has wrk || packages wrk
    ;;
power-cut)
    has python3 || packages python3
    has qemu-system-x86_64 || packages qemu-system-x86
    [ -x /sbin/mkfs.ext4 ] || packages e2fsprogs
    has busybox || packages busybox-static
    ;;
*) fail "usage: scripts/install.sh [run|test|bench|power-cut]" ;;
esac
