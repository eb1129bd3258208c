# Sourced by run, test and check: one virtual environment in the project, made when needed.
#
# prepare_environment is safe to repeat and safe beside another copy of itself: a lock file lets one of them
# work, a stamp with the digest of pyproject.toml lets the next one skip what is done.
#
#   PENSTOCK_PYTHON   the interpreter to build with      (default: python3, or python3.14 to python3.11)
#   PENSTOCK_VENV     where the environment is           (default: .venv in the project)
#   PENSTOCK_NO_SETUP set to 1 to use PENSTOCK_VENV as it is

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${PENSTOCK_VENV:-$project/.venv}

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() { say "$*"; exit 1; }

is_suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    if [ -n "${PENSTOCK_PYTHON:-}" ]; then
        is_suitable "$PENSTOCK_PYTHON" || die "PENSTOCK_PYTHON=$PENSTOCK_PYTHON is not a Python >= 3.11"
        echo "$PENSTOCK_PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && is_suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer is needed and none is on PATH (on Debian 12+ or Ubuntu 24.04+: apt install python3 python3-venv)"
}

may_install_packages() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# install_packages NAME...: through apt, as root or with a sudo that asks nothing.
install_packages() {
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    say "installing system packages: $*"
    "${as_root[@]}" apt-get update -qq &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# Debian and Ubuntu ship Python without the part that makes environments.
# PENSTOCK_MAY_INSTALL is set by scripts/test only: scripts/run never changes the system.
require_venv() {
    local python=$1 package
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "${PENSTOCK_MAY_INSTALL:-0}" = 1 ] && may_install_packages; then
        install_packages "$package" >&2
        "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    fi
    die "$python cannot make virtual environments; on Debian and Ubuntu: apt install $package"
}

# Programs that some tests drive. They are tried for once; without them those tests are skipped by name.
# Each is a command or a file, and its package after a colon where that has another name.
test_packages=(slowhttptest curl h2load:nghttp2-client testssl:testssl.sh etcd:etcd-server redis-server psql:postgresql
    dockerd:docker.io busybox:busybox-static java:default-jre-headless /usr/share/java/zookeeper.jar:zookeeper
    go:golang-go /usr/share/gocode/src/go.etcd.io/bbolt:golang-github-coreos-bbolt-dev)

offer_test_packages() {
    local name missing=() tried=$project/.run/test-packages
    for name in "${test_packages[@]}"; do
        [ -e "${name%%:*}" ] || command -v "${name%%:*}" >/dev/null || missing+=("${name##*:}")
    done
    [ ${#missing[@]} -gt 0 ] && [ ! -e "$tried" ] && may_install_packages || return 0
    mkdir -p "$project/.run" && touch "$tried"
    install_packages "${missing[@]}" >/dev/null 2>&1 || say "could not install ${missing[*]}; going on without"
}

# prepare_environment [EXTRA...]: afterwards "$venv/bin" has the project (editable) and the extras.
prepare_environment() {
    local wanted stamp
    if [ "${PENSTOCK_NO_SETUP:-0}" = 1 ]; then
        [ -x "$venv/bin/penstock" ] || die "PENSTOCK_NO_SETUP=1, but $venv/bin/penstock does not exist"
        return
    fi
    mkdir -p "$project/.run" "$(dirname "$venv")"
    exec 9>"$project/.run/setup.lock"
    flock 9
    stamp="$venv/penstock-setup"
    wanted=$(sha256sum "$project/pyproject.toml" | cut -d' ' -f1)
    if is_prepared "$stamp" "$wanted" "$@"; then
        exec 9>&-
        return
    fi
    build_environment "$stamp" "$wanted" "$@"
    exec 9>&-
}

# The programs that differential tests compare with are optional: without them those tests are skipped by name.
prepare_peers() {
    [ "${PENSTOCK_NO_SETUP:-0}" != 1 ] || return 0
    [ ! -x "$venv/bin/traefik" ] || return 0
    local wheel
    wheel=$(sed -n 's/^peers = \["\(.*\)"\].*/\1/p' "$project/pyproject.toml")
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel" ||
        say "continuing without $wheel: differential tests will be skipped"
}

# The stamp's first line is the digest, its second the extras that are in.
is_prepared() {
    local stamp=$1 wanted=$2 extra
    shift 2
    [ -x "$venv/bin/penstock" ] && [ -f "$stamp" ] && [ "$(sed -n 1p "$stamp")" = "$wanted" ] || return 1
    "$venv/bin/python" -c 'import trio' 2>/dev/null || return 1
    for extra in "$@"; do
        case " $(sed -n 2p "$stamp") " in *" $extra "*) ;; *) return 1 ;; esac
    done
}

build_environment() {
    local stamp=$1 wanted=$2 python extras log
    shift 2
    # What is in stays in: setting up for run must not forget that test was set up.
    extras=$(printf '%s\n' "$@" $(sed -n 2p "$stamp" 2>/dev/null) | sort -u | paste -sd' ')
    log=$(mktemp)
    if ! { [ -x "$venv/bin/python" ] && is_suitable "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
        python=$(find_python) || exit 1
        require_venv "$python"
        say "making an environment with $("$python" -V) in $venv"
        "$python" -m venv --clear "$venv" >"$log" 2>&1 || { cat "$log" >&2; die "could not make $venv"; }
    fi
    say "installing penstock${extras:+ with extras ${extras// /, }} (a minute or two the first time)"
    rm -f "$stamp"
    if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$project${extras:+[${extras// /,}]}" >"$log" 2>&1; then
        cat "$log" >&2
        die "pip could not install the project; its words are above"
    fi
    printf '%s\n%s\n' "$wanted" "$extras" >"$stamp"
    rm -f "$log"
    say "environment is ready"
}
