#!/bin/sh
# setup.sh: install minirun on this machine, show it, test it, remove it.
#
#     sudo ./setup.sh install             packages, .venv, and the commands minirun and minirun-oci
#     sudo ./setup.sh demo                install, then run a container and say what is different in it
#     sudo ./setup.sh test [--all]        install, the programs the tests need, all tests (--all: the
#                                         slow ones too: a virtual machine, long soaks)
#     sudo ./setup.sh uninstall [--packages]
#                                         remove all of it, with every image and container;
#                                         --packages: also the packages that install and test brought
#
# For Debian 12, Ubuntu 22.04 and 24.04, Fedora and CentOS Stream. A second run is quick: what is
# there already is left alone. Nothing is started as a service, and no network is changed.
set -eu
umask 022
export LC_ALL=C.UTF-8

PROJECT=$(cd "$(dirname "$0")" && pwd -P)
VENV=$PROJECT/.venv
BROUGHT=$PROJECT/.setup-packages    # what was installed here, for uninstall
TEST_CACHE=${MINIRUN_TEST_CACHE:-/var/cache/minirun-tests}
POLICY=/usr/sbin/policy-rc.d        # invoke-rc.d(8) asks it whether a service may start
PYTHONS="python3.13 python3.12 python3.11"

# --- the packages ---------------------------------------------------------------------------------

# To run: a compiler and headers for python-prctl, busybox for the embedded image; for ordinary users
# newuidmap (on Fedora it is there already) and a way out of their networks.
apt_packages="ca-certificates gcc libc6-dev libcap-dev iproute2 nftables busybox-static zstd
    uidmap slirp4netns"
dnf_packages="ca-certificates gcc glibc-devel libcap-devel iproute nftables zstd slirp4netns"

# To test. The other runtimes and engines; makers of images; tools that look inside; other machines.
apt_test_packages="
    runc crun podman netavark catatonit buildah containerd containernetworking-plugins docker.io
    passt docker-compose iptables docker-registry
    skopeo umoci mmdebstrap
    strace openssl tmux hyperfine time attr libcap2-bin procps git libseccomp2 shellcheck criu
    user-mode-linux qemu-user-static binutils binutils-aarch64-linux-gnu"
dnf_test_packages="
    runc crun podman netavark catatonit buildah containerd containernetworking-plugins moby-engine
    passt iptables-nft
    skopeo umoci busybox
    strace openssl tmux hyperfine time attr libcap procps-ng git libseccomp ShellCheck criu
    qemu-user-static binutils binutils-aarch64-linux-gnu"
# With --all: what vagrant/ needs to bring up its virtual machine; what builds a kubelet.
all_packages="
    qemu-system-x86 qemu-utils vagrant vagrant-libvirt libvirt-daemon-system dnsmasq-base
    rsync openssh-client golang-go"

# Their services: the tests start what they need themselves, in networks of their own.
services="docker.service docker.socket containerd.service docker-registry.service
    podman.socket podman.service podman-restart.service podman-auto-update.timer
    libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirt-guests.service
    virtlogd.socket virtlogd-admin.socket virtlockd.socket virtlockd-admin.socket"

# --- small things ---------------------------------------------------------------------------------

say() { printf '%s\n' "setup.sh: $*"; }

fail() {    # fail WHAT [HINT]
    printf '%s\n' "error: $1" >&2
    if [ $# -gt 1 ]; then printf '%s\n' "hint: $2" >&2; fi
    exit 1
}

# What an interrupted run may leave; on every exit, and before anything else
clean_up() {
    rm -f "${log:-}"
    if grep -qs 'minirun' $POLICY; then rm $POLICY; fi
}

has() { command -v "$1" >/dev/null 2>&1; }

become_root() {
    if [ "$(id -u)" != 0 ]; then
        has sudo || fail "only root can install" "su -c '$0 $*'"
        exec sudo "$0" "$@"
    fi
    keep_pip_settings
}

# sudo empties the environment, but not its own: the index or the proxy of the house stays known
keep_pip_settings() {
    if [ -z "${SUDO_USER:-}" ] || [ ! -r "/proc/$PPID/environ" ]; then return; fi
    settings=$(tr '\0' '\n' < "/proc/$PPID/environ" |
        grep -E '^(PIP_[A-Z_]+|(https?|no)_proxy|(HTTPS?|NO)_PROXY|SSL_CERT_FILE)=') || return 0
    while IFS= read -r setting; do
        export "${setting?}"
    done <<END
$settings
END
}

# --- packages -------------------------------------------------------------------------------------

# packages LIST: install what is missing of it
packages() {
    if has apt-get; then missing=$(apt_missing "$1")
    elif has dnf; then missing=$(dnf_missing "$1")
    else fail "this machine has neither apt-get nor dnf" "install by hand: $1"
    fi
    if [ -z "$missing" ]; then return; fi
    say "installing $missing"
    enabled=$(enabled_services)
    if [ ! -e $POLICY ]; then
        printf '#!/bin/sh\n# minirun: no service starts while setup.sh installs\nexit 101\n' > $POLICY
        chmod 755 $POLICY
    fi
    if has apt-get; then apt_install; else dnf_install; fi
    clean_up
    for service in $(enabled_services); do      # what a new package enabled for the next boot
        case " $enabled " in *" $service "*) ;; *) systemctl -q disable "$service" ;; esac
    done
}

enabled_services() {
    if ! has systemctl; then return; fi
    for service in $services; do
        if systemctl -q is-enabled "$service" 2>/dev/null; then printf '%s ' "$service"; fi
    done
}

# words LIST in|not-in LINES: those words of LIST that are, or are not, among LINES
words() {
    for word in $1; do
        if printf '%s\n' "$3" | grep -qxF "$word"; then found=in; else found=not-in; fi
        if [ $found = "$2" ]; then printf '%s ' "$word"; fi
    done
}

apt_missing() {
    # shellcheck disable=SC2086  # a list of words
    words "$1" not-in "$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $1 2>/dev/null |
        sed -n 's/ installed$//p')"
}

apt_install() {
    apt-get update -qq || say "going on with the package lists that are here"
    known=$(apt-cache pkgnames)
    unknown=$(words "$missing" not-in "$known")
    if [ -n "$unknown" ]; then say "not in this distribution, what needs it is skipped: $unknown"; fi
    missing=$(words "$missing" in "$known")
    log=$(mktemp)
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $missing < /dev/null > "$log" 2>&1 ||
        { cat "$log" >&2; fail "apt-get could not install $missing"; }
    printf '%s\n' "$missing" >> "$BROUGHT"
}

dnf_missing() {
    for package in $1; do
        rpm -q --quiet --whatprovides "$package" || printf '%s ' "$package"
    done
}

dnf_install() {
    for package in $missing; do     # one by one: dnf4 and dnf5 skip what they lack by other options
        if dnf install -y -q --setopt=install_weak_deps=False "$package" < /dev/null
        then printf '%s\n' "$package" >> "$BROUGHT"
        else say "dnf has no $package, what needs it is skipped"
        fi
    done
}

# --- Python ---------------------------------------------------------------------------------------

# The system's own Python: a version manager's shim in front of it costs 26 ms at each start.
# Afterwards $python is its real name, as /usr/bin/python3 may be another one after an upgrade.
find_python() {
    for name in python3 $PYTHONS; do
        python=/usr/bin/$name
        if [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            python=$(readlink -f "$python")
            return
        fi
    done
    python=
}

install_python() {
    find_python
    version=${python:+$(basename "$python")}
    if has apt-get; then
        version=${version:-$(newest_in_apt)}
        packages "$version $version-venv $version-dev"
    else
        version=${version:-python3.12}
        packages "$version $version-devel"
    fi
    find_python
    [ -n "$python" ] || fail "there is no Python 3.11 or newer in /usr/bin" \
        "on Ubuntu 22.04: sudo add-apt-repository universe"
}

newest_in_apt() {
    apt-get update -qq
    for name in $PYTHONS; do
        if apt-cache show "$name-venv" >/dev/null 2>&1; then echo "$name"; return; fi
    done
}

# venv EXTRA: afterwards .venv has minirun and what its extra "fast" or "test" asks for
venv() {
    state="$PROJECT $python $(cksum < "$PROJECT/pyproject.toml")"
    if [ "$(cat "$VENV/state" 2>/dev/null)" != "$state" ]; then
        say "making .venv with $python"
        rm -rf "$VENV"
        "$python" -m venv "$VENV"
        pip "$PROJECT" || fail "pip could not install what minirun needs" "set PIP_INDEX_URL or a proxy"
        printf '%s\n' "$state" > "$VENV/state"
    fi
    if [ ! -e "$VENV/extra-$1" ]; then
        pip "${PROJECT}[$1]" || return 1
        : > "$VENV/extra-$1"
    fi
}

pip() {
    say "pip install --editable $1"
    "$VENV/bin/python" -m pip --quiet --disable-pip-version-check --no-cache-dir \
        install --use-pep517 --editable "$1" < /dev/null
}

# --- the commands ---------------------------------------------------------------------------------

# A launcher starts Python without its site module (-S) and untouched by the environment (-I), and
# imports the rest from cached bytecode. The names of its folders are Python strings: repr().
launchers() {
    site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    launcher minirun minirun.engine.cli "$PROJECT" "$site"
    launcher minirun-oci minirun.runtime.cli "$PROJECT"
    "$python" -m compileall -q "$PROJECT/minirun"
}

# launcher NAME MODULE FOLDER...
launcher() {
    name=$1 module=$2
    shift 2
    folders=$("$python" -c 'import sys; print(sys.argv[1:])' "$@")
    cat > "$BIN/.$name" <<END
#!$python -SI
import sys

sys.path += $folders
from $module import main

sys.exit(main())
END
    chmod 755 "$BIN/.$name"
    mv "$BIN/.$name" "$BIN/$name"
}

install() {
    install_python
    if has apt-get; then packages "$apt_packages"; else packages "$dnf_packages"; fi
    venv fast || say "going on without isal and zstandard: pulls are slower"
    launchers
    say "installed: $BIN/minirun, $BIN/minirun-oci"
}

# --- demo -----------------------------------------------------------------------------------------

# What a process can see: asked on the host and in a container, and laid side by side
# shellcheck disable=SC2016  # for the shell that will run it
facts='
limit() {
    number=$(cat "/sys/fs/cgroup/$1" "/sys/fs/cgroup/$2" 2>/dev/null)
    case $number in "" | max | ???????????????*) echo none ;; *) echo "$number" ;; esac
}
echo "host name|$(hostname)"
echo "process 1|$(cat /proc/1/comm)"
echo "processes|$(ls /proc | grep -c "^[0-9]")"
echo "mounts|$(grep -c . /proc/self/mountinfo)"
echo "network interfaces|$(ls /sys/class/net | tr "\n" " ")"
echo "root directory|$(. /etc/os-release; echo "$PRETTY_NAME")"
echo "memory limit|$(limit memory.max memory/memory.limit_in_bytes)"
echo "limit of processes|$(limit pids.max pids/pids.max)"
echo "capabilities|$(sed -n "s/CapEff:.//p" /proc/self/status)"
echo "kernel|$(uname -r)"
'

demo() {
    say "minirun run --rm --hostname demo -m 64m --pids-limit 32 tiny sh -c '...'"
    inside=$("$BIN/minirun" run --rm --hostname demo -m 64m --pids-limit 32 tiny sh -c "$facts")
    outside=$(sh -c "$facts")
    {
        echo "|on the host|in the container"
        printf '%s\n' "$outside" | while IFS='|' read -r fact there; do
            echo "$fact|$there|$(printf '%s\n' "$inside" | sed -n "s/^$fact|//p")"
        done
    } | awk -F'|' '{ printf "%-20s %-40.40s %s\n", $1, $2, $3 }'
    echo "The kernel is the same: a container is a process that sees less. Next: minirun run -it tiny"
}

# --- test -----------------------------------------------------------------------------------------

run_tests() {
    if has apt-get; then packages "$apt_test_packages"; else packages "$dnf_test_packages"; fi
    venv test || fail "pip could not install what the tests need" "set PIP_INDEX_URL or a proxy"
    cd "$PROJECT"
    result=0
    "$VENV/bin/ruff" check . || result=1
    "$VENV/bin/mypy" || result=1
    "$VENV/bin/python" -m pytest "$@" < /dev/null || result=$?
    return $result
}

# --- uninstall ------------------------------------------------------------------------------------

uninstall() {
    # with the last container go the networks' bridges and the nftables table
    if [ -x "$BIN/minirun" ]; then "$BIN/minirun" ps -aq | xargs -r "$BIN/minirun" rm -f || :; fi
    for state in /run/minirun/oci/*/; do
        if [ -d "$state" ]; then "$BIN/minirun-oci" delete --force "$(basename "$state")" || :; fi
    done
    awk '$5 ~ "^/(var/lib|run)/minirun/" { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mount; do umount "$mount"; done
    rm -rf --one-file-system /var/lib/minirun /run/minirun "$TEST_CACHE"
    rm -f "$BIN/minirun" "$BIN/minirun-oci"
    cd "$PROJECT"
    rm -rf "$VENV" build minirun.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
    find . -name __pycache__ -type d -prune -exec rm -rf {} +
    say "removed minirun, its images and containers, and its .venv"
    if [ -e "$BROUGHT" ]; then uninstall_packages "${1:-}"; fi
}

uninstall_packages() {
    brought=$(tr '\n' ' ' < "$BROUGHT")
    if has apt-get; then remove="apt-get purge -y --autoremove"; else remove="dnf remove -y"; fi
    if [ "$1" = --packages ]; then
        # shellcheck disable=SC2086  # a command and a list of words
        $remove $brought < /dev/null
    else
        say "packages it brought stay, as others may need them by now; to remove them: $remove $brought"
    fi
    rm "$BROUGHT"
}

# --- the command line -----------------------------------------------------------------------------

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# root's PATH under sudo (its secure_path) has /usr/local/bin on Debian, but not on CentOS
BIN=/usr/local/bin
if ! has apt-get; then BIN=/usr/bin; fi

case "${1:-} ${2:-}" in
    "install " | "demo " | "test " | "test --all" | "uninstall " | "uninstall --packages") ;;
    "-h " | "--help " | "help ") usage; exit ;;
    *) usage >&2; exit 2 ;;
esac
become_root "$@"
trap clean_up EXIT
trap 'exit 130' INT TERM
clean_up

case "$*" in
    install) install ;;
    demo) install; demo ;;
    test) install; run_tests -m "not slow" ;;
    "test --all") install; packages "$all_packages"; run_tests ;;
    uninstall*) uninstall "${2:-}" ;;
esac
