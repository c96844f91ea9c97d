# What the checks are made of. Sourced by init.

# The files of the running check: NAME.out, NAME.err and NAME.pid of each program that it started.
W=/tmp/check
# How many seconds to wait for what has to happen. An emulated machine on a busy host is slow.
PATIENCE=120

# busybox's shell takes its own before those that are on the PATH.
ip() {
    /usr/bin/ip "$@"
}

tc() {
    /usr/bin/tc "$@"
}

# Ends the check: it has failed, and this is why.
die() {
    echo "$*" >"$W/verdict"
    echo "FAILED: $*"
    exit 1
}

# What the table says of the check if it passes.
note() {
    echo "$*" >"$W/verdict"
}

# Waits until a command succeeds.  await WHAT COMMAND..
await() {
    local what=$1 began now rest
    shift
    IFS=. read -r began rest </proc/uptime
    until "$@"; do
        IFS=. read -r now rest </proc/uptime
        [ $((now - began)) -lt $PATIENCE ] || die "not within $PATIENCE s: $what"
        sleep 0.1
    done
}

# Whether the kernel is at least MAJOR.MINOR.  kernel_from 6 6
kernel_from() {
    local version major minor
    version=$(uname -r)
    major=${version%%.*}
    minor=${version#*.}
    minor=${minor%%[!0-9]*}
    [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; }
}

# --- the programs

# Starts capture, and waits until it listens.  capture_as NAME ARGUMENTS..
capture_as() {
    start_capture "$@"
    await "capture listens ($*)" has_started "$1"
}

start_capture() {
    local name=$1
    shift
    capture -n -l -B 1024 "$@" >"$W/$name.out" 2>"$W/$name.err" &
    echo $! >"$W/$name.pid"
}

# Starts tcpdump, and waits until it listens.  tcpdump_as NAME ARGUMENTS..
tcpdump_as() {
    local name=$1
    shift
    tcpdump -n -l -Z root -B 16384 "$@" >"$W/$name.out" 2>"$W/$name.err" &
    echo $! >"$W/$name.pid"
    await "tcpdump listens ($*)" has_started "$name"
}

# The process of a program that was started, in `pid`.  pid_of NAME
pid_of() {
    read -r pid <"$W/$1.pid"
}

is_running() {
    local pid
    pid_of "$1"
    kill -0 "$pid" 2>/dev/null
}

has_started() {
    grep -qs 'listening on' "$W/$1.err" && return 0
    is_running "$1" || die "$1 ended: $(tail -n 3 "$W/$1.err" | tr '\n' ' ')"
    return 1
}

# Ends programs that were started, as Ctrl-C does.  finish NAME..
finish() {
    local name pid
    for name in "$@"; do
        pid_of "$name"
        kill -INT "$pid" || die "$name had ended: $(tail -n 3 "$W/$name.err" | tr '\n' ' ')"
    done
    for name in "$@"; do
        local status=0
        pid_of "$name"
        wait "$pid" || status=$?
        [ $status -eq 0 ] || die "$name ended with status $status: $(tail -n 3 "$W/$name.err" | tr '\n' ' ')"
    done
}

# A number of a program's summary.  count NAME captured
count() {
    sed -n "s/^\([0-9]*\) packets\{0,1\} $2.*/\1/p" "$W/$1.err" | tail -n 1
}

# What every summary of capture has to satisfy: nothing is lost without being counted. Lines of a dump begin with a tab.
# One program reads it all: in an emulated machine, starting programs is what takes the time.  accounts NAME..
accounts() {
    local wrong
    wrong=$(cd "$W" && awk '
        { name = FILENAME; sub(/[.][a-z]+$/, "", name) }
        FILENAME ~ /[.]out$/ { lines[name] += /^[[:graph:] ]/; next }
        /^[0-9]+ packets? captured/ { captured[name] = $1 }
        /^[0-9]+ packets? received by filter/ { received[name] = $1 }
        /^[0-9]+ packets? dropped by kernel/ { dropped[name] = $1 }
        /^[0-9]+ packets? not written/ { unwritten[name] = $1 }
        END {
            for (i = 1; i < ARGC; i += 2) {
                name = ARGV[i]
                sub(/[.][a-z]+$/, "", name)
                if (captured[name] == "" || received[name] == "" || dropped[name] == "")
                    print name ": there is no summary"
                else if (received[name] != captured[name] + dropped[name] + unwritten[name])
                    printf "%s: %d received, but %d captured, %d dropped, %d not written\n", name, received[name],
                        captured[name], dropped[name], unwritten[name]
                else if (lines[name] + 0 != captured[name])
                    printf "%s: %d captured, but %d lines\n", name, captured[name], lines[name]
            }
        }' $(printf '%s.err ' "$@" | sed 's/\([^ ]*\)\.err/\1.err \1.out/g')) || die "$*: the accounts cannot be read"
    [ -z "$wrong" ] || die "$wrong"
}

# --- the network

# `veth0` (10.0.0.1, fd00::1) here, and `veth1` (10.0.0.2, fd00::2) in the namespace `peer`, with a server of echoes
# on port 8888 and on port 7777; also on loopback.
network() {
    links
    servers_at_both
}

# The devices of it.
links() {
    ip netns add peer
    ip link add veth0 type veth peer name veth1 netns peer
    set_up_end '' veth0 1
    set_up_end 'ip netns exec peer' veth1 2
    ip netns exec peer ip link set lo up
}

# The servers of it.
servers_at_both() {
    for port in 8888 7777; do
        taskset 2 nc -ll -p $port -e cat &
        ip netns exec peer taskset 2 nc -ll -p $port -e cat &
    done
    await 'veth0 is up' eval 'ip link show veth0 | grep -q "state UP"'
    await 'the servers here listen' listen ''
    await 'the servers there listen' listen 'ip netns exec peer'
}

set_up_end() {
    local at=$1
    $at sh -c "echo 0 >/proc/sys/net/ipv6/conf/$2/accept_dad"
    $at ip addr add 10.0.0.$3/24 dev $2
    $at ip addr add fd00::$3/64 dev $2 nodad
    $at ip link set $2 up
}

# More pairs, numbered from 1: `pairNUMBER` here, 10.3.NUMBER.1, and there, 10.3.NUMBER.2.  pairs HOW_MANY
pairs() {
    seq 1 $1 | awk '{
        printf "link add pair%d type veth peer name pair%d netns peer\n", $1, $1
        printf "addr add 10.3.%d.1/24 dev pair%d\nlink set pair%d up\n", $1, $1, $1
    }' | ip -batch -
    seq 1 $1 | awk '{
        printf "addr add 10.3.%d.2/24 dev pair%d\nlink set pair%d up\n", $1, $1, $1
    }' | ip -netns peer -batch -
}

# A device whose packets begin with the IP header: 10.1.NUMBER.1 here and 10.1.NUMBER.2 there. Its packets cross the
# first pair inside others.  tunnel NAME NUMBER
tunnel() {
    tunnel_end '' $1 $2 1 2
    tunnel_end '-netns peer' $1 $2 2 1
}

tunnel_end() {
    ip $1 -batch - <<END
addr add 10.2.$3.$4/32 dev veth$(($4 - 1))
route add 10.2.$3.$5 dev veth$(($4 - 1)) src 10.2.$3.$4
link add $2 type ipip local 10.2.$3.$4 remote 10.2.$3.$5
addr add 10.1.$3.$4/24 dev $2
link set $2 up
END
}

# Whether both servers listen: ports 22B8 and 1E61, state 0A (proc_net_tcp of the kernel's documentation).
listen() {
    [ "$($1 cat /proc/net/tcp6 | grep -c ':\(22B8\|1E61\) .* 0A ')" -eq 2 ]
}

# One connection with one line each way. All of it on one CPU, so that capture and tcpdump see one order.
# session ADDRESS PORT
session() {
    [ "$(printf 'hello\n' | on_cpu_1 nc -w 20 "$1" "$2")" = hello ] || die "no echo from $1 port $2"
}

# One connection with so many bytes each way, in segments as large as they come.
# bulk ADDRESS BYTES
bulk() {
    local back
    back=$(head -c "$2" /dev/zero | on_cpu_1 nc -w 20 "$1" 8888 | wc -c)
    [ "$back" -eq "$2" ] || die "$back of $2 bytes came back from $1"
}

# A packet to a port that no server has, and its answer: the last of what is captured.
marker() {
    on_cpu_1 nc -w 20 "$1" 9 </dev/null 2>/dev/null && die "a server at $1 port 9"
    return 0
}

on_cpu_1() {
    taskset 2 "$@"
}

# Waits until programs have printed the marker, which is so many lines.  await_marker LINES NAME..
await_marker() {
    local expected=$1 name
    shift
    for name in "$@"; do
        await "$name prints the last packet" has_marker "$expected" "$name"
    done
}

has_marker() {
    [ "$(grep -c '\.9[: ]' "$W/$2.out")" -ge "$1" ]
}

# How many lines a program has printed.
lines() {
    wc -l <"$W/$1.out"
}

# Whether two programs printed the same lines; at least so many.  same LINES NAME NAME
same() {
    [ "$(lines $2)" -ge "$1" ] || die "$2 printed $(lines $2) lines instead of at least $1"
    local one="$W/$2.out" other="$W/$3.out"
    if is_real_time; then
        by_sender $2
        by_sender $3
        one=$W/$2.senders other=$W/$3.senders
    fi
    cmp -s "$one" "$other" && return 0
    diff "$one" "$other" >"$W/difference" || true
    die "the lines of $2 and $3 differ: there are $(lines $2) and $(lines $3)"
}

# Puts what a program printed into an order of senders; each sender's packets stay in theirs. With PREEMPT_RT a task
# that sends can be interrupted between the two programs by one that answers, on the same CPU, and so each of the
# programs may be the first to see either packet.
by_sender() {
    awk '!/^\t/ { sender = $2 } { print sender, $0 }' "$W/$1.out" | sort -s -k 1,1 >"$W/$1.senders"
}

# --- the CPUs

# Switches all CPUs on but the first two, which are on anyway, or off.  other_cpus 1
other_cpus() {
    local file
    for file in /sys/devices/system/cpu/cpu[2-9]/online; do
        echo $1 >"$file" || return 1
    done
}

# --- the kernel

# Whether the kernel is one with PREEMPT_RT.
is_real_time() {
    case $(uname -v) in
    *PREEMPT_RT*) ;;
    *) return 1 ;;
    esac
}

# How many of our programs are in the kernel. There are 200,000 symbols: busybox takes 7 s to look for a pattern in them,
# and 1 s to look for a text.
programs() {
    grep -F '[bpf]' /proc/kallsyms | grep -c 'bpf_prog_[0-9a-f]*_\(tc_ingress\|tc_egress\|xdp\)' || true
}

no_programs() {
    [ "$(programs)" -eq 0 ]
}

# What a check that failed has left in its files goes to the console.
show_files() {
    for file in "$W"/*; do
        [ -s "$file" ] || continue
        echo "--- ${file##*/}: $(wc -l <"$file") lines"
        head -c 3000 "$file"
    done
    tc filter show dev veth0 ingress 2>/dev/null
    echo "--- programs: $(programs)"
}

# Everything in this machine is a check's: no process and no interface of it stays.
clean_up() {
    killall -q -KILL capture tcpdump nc cat socat
    ip link del veth0 2>/dev/null
    for device in /sys/class/net/pair* /sys/class/net/tunnel* /sys/class/net/kind-*; do
        ip link del "${device##*/}" 2>/dev/null
    done
    ip netns del peer 2>/dev/null
    tc qdisc del dev lo clsact 2>/dev/null
    tc qdisc del dev lo ingress 2>/dev/null
    other_cpus 0
}
