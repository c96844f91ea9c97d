# The checks of several interfaces and network namespaces, and of what a capture may do. Sourced by init; see checks.sh.

# All interfaces next to tcpdump's `any`; and those of two namespaces in one output, each next to a tcpdump inside.
several() {
    network
    tcpdump_as here.tcpdump -t -S -i any $BOTH_PORTS
    /usr/bin/ip netns exec peer tcpdump -n -l -Z root -B 16384 -t -S -i any $BOTH_PORTS >"$W/peer.tcpdump.out" \
        2>"$W/peer.tcpdump.err" &
    echo $! >"$W/peer.tcpdump.pid"
    await 'tcpdump listens there' has_started peer.tcpdump
    capture_as here.capture -t -S -i any --port 8888,9
    capture_as both -t -S --netns 1 --netns peer --port 8888,9
    traffic 10.0.0.2 fd00::2
    await_marker 2 here.tcpdump peer.tcpdump here.capture
    await_marker 4 both
    finish here.capture both here.tcpdump peer.tcpdump
    accounts here.capture
    accounts both
    same 20 here.tcpdump here.capture
    for name in 1:here peer:peer; do
        sed -n "s|^${name%:*}/||p" "$W/both.out" >"$W/${name#*:}.inside.out"
        # The last line is empty, as tcpdump's is after an interruption.
        echo >>"$W/${name#*:}.inside.out"
        same 20 ${name#*:}.tcpdump ${name#*:}.inside
    done
    await 'the programs leave the kernel' no_programs
    note "equal lines"
}

# The process that reads packets holds nothing, and the helper four capabilities.
power() {
    network
    capture_as power -i veth0 --log-level info --port 8888,9
    marker 10.0.0.2
    await_marker 2 power
    pid_of power
    has "$pid" Uid '65534	65534	65534	65534'
    has "$pid" NoNewPrivs 1
    has "$pid" Seccomp 2
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        has "$pid" $set 0000000000000000
    done
    pid=$(helper)
    # CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF.
    has "$pid" CapEff 0000008000203000
    has "$pid" CapBnd 0000000000000000
    has "$pid" Seccomp 2
    finish power
    accounts power
    names
    note "$(sed -n 's/.* no capabilities, //p' "$W/power.err")"
}

# Names are found without libraries and files of the name service switch: this machine has none.
names() {
    [ -z "$(ls /lib/*/libnss_* /usr/lib/*/libnss_* /etc/nsswitch.conf 2>/dev/null)" ] || die 'there is a name service switch'
    capture -l -B 1024 -t -i lo --resolve --port 9 >"$W/names.out" 2>"$W/names.err" &
    echo $! >"$W/names.pid"
    await 'capture listens' has_started names
    # A line waits for a name for a moment only.
    await 'the name of an address' has_name
    finish names
    accounts names
}

has_name() {
    marker 127.0.0.1
    grep -q '^IP localhost[.][0-9]* > localhost[.]9: ' "$W/names.out"
}

# Whether a process has something in its status.  has PROCESS FIELD VALUE
has() {
    grep -q "^$2:	$3\$" "/proc/$1/status" || die "process $1 has not $2 $3: $(grep "^$2:" "/proc/$1/status")"
}
