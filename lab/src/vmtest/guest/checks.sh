# The checks. Sourced by init, which performs those in ALL_CHECKS in their order, each in a shell of its own with
# `set -e` in force. A check is a function, here, in counters.sh, filters.sh, power.sh or kinds.sh: it ends with
# `note TEXT` (it passes, and TEXT is in the table) or with `die TEXT` (it fails, and TEXT says what is wrong). A new one
# needs a word in ALL_CHECKS, and a column in report.rs.

ALL_CHECKS="tc_lines xdp_generic xdp_native options_tc options_xdp counters killed cpu_offline ingress_qdisc
filters_tc filters_xdp several power kinds"

BOTH_PORTS='tcp port 8888 or tcp port 9'

# Where capture attaches at tc, as its first line says it.
tc_mechanism() {
    if kernel_from 6 6; then echo tcx; else echo clsact; fi
}

# Whether the kernel has what the program at XDP needs: bpf_xdp_load_bytes.
has_xdp() {
    kernel_from 5 18
}

# Whether tc sees what comes in through an IP tunnel as it is: below, the kernel leaves the outer header in front of it.
has_tunnels() {
    kernel_from 5 14
}

# The connections that are compared.  traffic ADDRESS ADDRESS
traffic() {
    for address in "$@"; do
        session "$address" 8888
        bulk "$address" 40000
        session "$address" 7777
    done
    marker "$1"
}

# tc on loopback, and on veth in both directions together and each by itself.
tc_lines() {
    network
    tcpdump_as lo.tcpdump -t -i lo $BOTH_PORTS
    capture_as lo.capture -t -i lo --port 8888,9
    for direction in inout in out; do
        tcpdump_as $direction.tcpdump -t -i veth0 -Q $direction $BOTH_PORTS
        capture_as $direction.capture -t -i veth0 -Q $direction --port 8888,9
        grep -q "($(tc_mechanism))" "$W/$direction.capture.err" || die "it is not attached by $(tc_mechanism)"
    done
    traffic 127.0.0.1 ::1
    traffic 10.0.0.2 fd00::2
    await_marker 2 lo.tcpdump lo.capture inout.tcpdump inout.capture
    await_marker 1 in.tcpdump in.capture out.tcpdump out.capture
    finish lo.capture inout.capture in.capture out.capture lo.tcpdump inout.tcpdump in.tcpdump out.tcpdump
    for name in lo inout in out; do
        accounts $name.capture
        same 20 $name.tcpdump $name.capture
    done
    await 'the programs leave the kernel' no_programs
    note "$(tc_mechanism)"
}

# XDP on a device.  Packets are small and one at a time: after XDP the kernel joins those that follow each other (GRO),
# and tcpdump sees them joined.  xdp_on DEVICE HOOK ADDRESS ADDRESS
xdp_on() {
    tcpdump_as $1.tcpdump -t -i $1 -Q in $BOTH_PORTS
    capture_as $1.capture -t -i $1 --hook $2 --port 8888,9
    session $3 8888
    session $4 8888
    session $3 7777
    marker $3
    # On loopback what is sent comes in as well.
    if [ $1 = lo ]; then lines=2; else lines=1; fi
    await_marker $lines $1.tcpdump $1.capture
    finish $1.capture $1.tcpdump
    accounts $1.capture
    same 8 $1.tcpdump $1.capture
}

xdp_generic() {
    network
    has_xdp || { refused xdp-generic; return; }
    xdp_on veth0 xdp-generic 10.0.0.2 fd00::2
    xdp_on lo xdp-generic 127.0.0.1 ::1
    await 'the programs leave the kernel' no_programs
    note yes
}

xdp_native() {
    network
    has_xdp || { refused xdp-native; return; }
    xdp_on veth0 xdp-native 10.0.0.2 fd00::2
    await 'the programs leave the kernel' no_programs
    note yes
}

# That a hook which the kernel cannot have is refused in one sentence, and nothing is left.  refused HOOK
refused() {
    start_capture refused -i veth0 --hook $1
    local status=0
    wait "$(cat "$W/refused.pid")" || status=$?
    [ $status -eq 1 ] || die "$1 on an old kernel ended with status $status"
    [ "$(wc -l <"$W/refused.err")" -eq 1 ] || die "$1 on an old kernel is not refused in one line"
    grep -qi 'xdp' "$W/refused.err" || die "the refusal does not name XDP"
    await 'the programs leave the kernel' no_programs
    note 'no: needs Linux 5.18'
}

# Which values the programs are specialized for: `PORTS SNAPLEN LOG_LEVEL`. Both ends of the snapshot length with both of
# the others, and those between with some: of the length, the programs have no more branches than none and any.
OPTIONS="$(
    for ports in any 8888,9; do
        for snaplen in none 262144; do
            echo "$ports $snaplen off"
            echo "$ports $snaplen trace"
        done
    done
)
any 42 debug
8888,9 300 debug
any 1514 off
8888,9 9000 debug"

# What is captured at a hook of a device.  direction_of HOOK DEVICE
direction_of() {
    case $1,$2 in
    xdp*) echo in ;;
    tc,tunnel*) if has_tunnels; then echo inout; else echo out; fi ;;
    *) echo inout ;;
    esac
}

# Starts capture with one of them, and tcpdump with the flags that mean the same, unless it runs already.
# specialized HOOK DEVICE PORTS SNAPLEN LOG_LEVEL
specialized() {
    local hook=$1 device=$2 ports=$3 snaplen=$4 log_level=$5 name=$2,$3,$4 length filter direction
    direction=$(direction_of $hook $device)
    # -S: what is printed of a packet depends on no other. -x: all that was captured is compared.
    case $snaplen in
    none) length=-S ;;
    *) length="-s $snaplen -S -x" ;;
    esac
    case $ports in
    any) filter=tcp ports= ;;
    *) filter=$BOTH_PORTS ports="--port $ports" ;;
    esac
    [ -e "$W/$name.tcpdump.pid" ] || tcpdump_as $name.tcpdump -t -i $device -Q $direction $length $filter
    start_capture $name,$log_level.capture -t -i $device -Q $direction --hook $hook $length $ports --log-level $log_level
}

# The tcpdump that belongs to a capture.
oracle() {
    echo "${1%,*}.tcpdump"
}

# The names of the captures that were started, and those of the tcpdumps.
captures() {
    (cd "$W" && ls *.capture.pid) | sed 's/\.pid$//'
}

oracles() {
    (cd "$W" && ls *.tcpdump.pid) | sed 's/\.pid$//'
}

# Waits for the marker, which is one line in each direction, and compares: there are so many lines at least.
# compare_all HOOK LINES
compare_all() {
    local name
    for name in $(captures); do
        case $(direction_of $1 $name) in
        inout) await_marker 2 $name $(oracle $name) ;;
        *) await_marker 1 $name $(oracle $name) ;;
        esac
    done
    finish $(captures) $(oracles)
    for name in $(captures); do
        accounts $name
        same $2 $(oracle $name) $name
        case $name in
        *,trace.capture) grep -q 'kernel: trace' "$W/$name.err" || die "$name: no match is in the log" ;;
        *) ! grep -q 'kernel: trace' "$W/$name.err" || die "$name: a match is in the log" ;;
        esac
    done
    await 'the programs leave the kernel' no_programs
}

# Every value that the programs are specialized for, on a device with an Ethernet header and on one without: all at
# once, as tc takes many.
options_tc() {
    network
    tunnel tunnel0 1
    while read -r options; do
        specialized tc veth0 $options
        specialized tc tunnel0 $options
    done <<END
$OPTIONS
END
    for name in $(captures); do
        await "$name listens" has_started $name
    done
    session 10.0.0.2 8888
    bulk fd00::2 3000
    session fd00::2 7777
    marker 10.0.0.2
    session 10.1.1.2 8888
    bulk 10.1.1.2 3000
    session 10.1.1.2 7777
    marker 10.1.1.2
    compare_all tc 10
    if has_tunnels; then which=; else which=', of tunnels outgoing'; fi
    note "$(captures | wc -l) sets$which"
}

# The same at XDP, which takes one program for a device: native on a pair for each set, and generic on a tunnel.
options_xdp() {
    network
    has_xdp || { note no; return; }
    local number=0
    pairs "$(echo "$OPTIONS" | wc -l)"
    while read -r options; do
        number=$((number + 1))
        specialized xdp-native pair$number $options
        tunnel tunnel$number $number
        specialized xdp-generic tunnel$number $options
    done <<END
$OPTIONS
END
    for name in $(captures); do
        await "$name listens" has_started $name
    done
    for number in $(seq $number); do
        for address in 10.1.$number.2 10.3.$number.2; do
            session $address 8888
            session $address 7777
            marker $address
        done
    done
    compare_all xdp 5
    note "$(captures | wc -l) sets"
}

# The process of the helper of the capture that runs.
helper() {
    local name process
    for process in /proc/[0-9]*; do
        read -r name <"$process/comm" && [ "$name" = capture-helper ] && echo "${process#/proc/}"
    done 2>/dev/null
    true
}

killed() {
    network
    capture_as tc -i veth0 --port 8888
    [ "$(programs)" -ge 2 ] || die 'the programs of a running capture are not seen'
    kill -KILL "$(cat "$W/tc.pid")"
    await 'the programs leave the kernel' no_programs
    capture_as tc -i veth0 --port 8888
    kill -KILL "$(helper)"
    wait "$(cat "$W/tc.pid")" && die 'a capture without a helper ends with status 0'
    if kernel_from 6 6; then
        left=nothing
    else
        left='clsact filters, if its helper is killed, until the next capture or `--cleanup`'
        for direction in ingress egress; do
            tc filter show dev veth0 $direction | grep -q 'bpf' || die "no filter is left at $direction"
        done
        capture --cleanup 2>"$W/cleanup"
        grep -q 'removed 2 filters from veth0' "$W/cleanup" || die "--cleanup: $(cat "$W/cleanup")"
    fi
    await 'the programs leave the kernel' no_programs
    if has_xdp; then
        for hook in xdp-generic xdp-native; do
            capture_as $hook -i veth0 --hook $hook --port 8888
            kill -KILL "$(cat "$W/$hook.pid")"
            await 'the programs leave the kernel' no_programs
            ip link show veth0 | grep -q xdp && die "$hook: a program is still attached"
        done
    fi
    note "$left"
}

# One of the CPUs goes away during a capture and comes back, while packets pass on it; and it comes back during a
# capture that began without it, which shares a ring with another CPU then.
cpu_offline() {
    other_cpus 1 || die 'the other CPUs cannot be switched on'
    network
    tcpdump_as early.tcpdump -t -i veth0 $BOTH_PORTS
    capture_as early.capture -t -i veth0 --port 8888,9
    busy_while cpu_3 0
    tcpdump_as late.tcpdump -t -i veth0 $BOTH_PORTS
    capture_as late.capture -t -i veth0 --port 8888,9
    busy_while cpu_3 1
    for number in 1 2 3; do
        printf 'hello\n' | taskset 8 nc -w 20 10.0.0.2 8888 >/dev/null
    done
    marker 10.0.0.2
    await_marker 2 early.tcpdump early.capture late.tcpdump late.capture
    finish early.capture late.capture early.tcpdump late.tcpdump
    for name in early late; do
        accounts $name.capture
        [ "$(count $name.tcpdump 'dropped by kernel')" -eq 0 ] || die "tcpdump lost packets: nothing to compare with"
        [ "$(count $name.capture 'dropped by kernel')" -eq 0 ] || die "$name.capture dropped packets"
        [ "$(lines $name.tcpdump)" -eq "$(lines $name.capture)" ] ||
            die "$name: $(lines $name.tcpdump) lines of tcpdump, $(lines $name.capture) of capture"
    done
    await 'the programs leave the kernel' no_programs
    note "exact: $(count early.capture captured) packets"
}

# Takes the fourth of the CPUs offline, or back.  cpu_3 0
cpu_3() {
    echo $1 >/sys/devices/system/cpu/cpu3/online
}

# Runs a command while connections are made from three CPUs, the fourth among them: some before it and some after it.
busy_while() {
    local mask
    for mask in 2 4 8; do
        (
            number=0
            while [ $number -lt 6 ] || [ ! -e "$W/enough" ]; do
                printf 'hello\n' | taskset $mask nc -w 20 10.0.0.2 8888 >/dev/null || true
                number=$((number + 1))
                : >"$W/made.$mask.$number"
            done
        ) &
        echo $! >"$W/busy.$mask"
    done
    await 'connections are made' test -e "$W/made.8.2"
    "$@"
    : >"$W/enough"
    for mask in 2 4 8; do
        wait "$(cat "$W/busy.$mask")"
    done
    rm "$W"/made.* "$W/enough"
}

# A device that has a plain ingress qdisc already: the same lines, or one sentence that names it.
ingress_qdisc() {
    network
    tc qdisc add dev veth0 ingress
    tcpdump_as tcpdump -t -i veth0 $BOTH_PORTS
    start_capture capture -t -i veth0 --port 8888,9
    await 'capture listens or ends' settled capture
    if is_running capture; then
        session 10.0.0.2 8888
        marker 10.0.0.2
        await_marker 2 tcpdump capture
        finish capture tcpdump
        accounts capture
        same 10 tcpdump capture
        note 'equal lines'
    else
        local status=0
        wait "$(cat "$W/capture.pid")" || status=$?
        [ $status -eq 1 ] || die "capture ended with status $status"
        [ "$(wc -l <"$W/capture.err")" -eq 1 ] || die 'the refusal is not one line'
        grep -q 'ingress.*qdisc\|qdisc.*ingress' "$W/capture.err" || die 'the refusal does not name the ingress qdisc'
        note 'refused in a sentence'
    fi
    await 'the programs leave the kernel' no_programs
}

settled() {
    grep -qs 'listening on' "$W/$1.err" || ! is_running $1
}
