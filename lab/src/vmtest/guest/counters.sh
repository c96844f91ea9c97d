# The check of the counters. Sourced by init; see checks.sh.

# All CPUs send and receive at once, and on each of them tasks with a real-time priority interrupt others: the counters
# have as many packets as tcpdump has, and every one of them is either printed or dropped. One capture has a ring for
# each CPU and drops nothing; one has a small ring, and is stopped for half of the traffic.
counters() {
    other_cpus 1 || die 'the other CPUs cannot be switched on'
    network
    for number in $(seq 0 7); do
        ip netns exec peer taskset $(mask_of $number) nc -ll -p 900$number -e cat &
    done
    await 'the servers there listen on all CPUs' listen_on_all
    tcpdump_as tcpdump -t -i veth0 tcp portrange 9000-9007
    capture_as large -t -i veth0 -B 8192 tcp portrange 9000-9007
    capture_as small -t -i veth0 -B 32 tcp portrange 9000-9007
    adds=$(additions)
    everyone_talks
    kill -STOP "$(cat "$W/small.pid")"
    everyone_talks
    kill -CONT "$(cat "$W/small.pid")"
    await 'large and tcpdump print as many packets' as_many large tcpdump
    finish large small tcpdump
    [ "$(count tcpdump 'dropped by kernel')" -eq 0 ] || die 'tcpdump dropped packets'
    # tcpdump has also received what came before its filter was in place.
    for name in large small; do
        accounts $name
        [ "$(count $name 'received by filter')" -eq "$(count tcpdump captured)" ] ||
            die "$(count $name 'received by filter') received by $name, $(count tcpdump captured) captured by tcpdump"
    done
    [ "$(count large 'dropped by kernel')" -eq 0 ] || die 'large dropped packets'
    [ "$(count small 'dropped by kernel')" -gt 0 ] || die 'small dropped no packet while it was stopped'
    await 'the programs leave the kernel' no_programs
    note "exact: $(count large captured) packets, $(count small 'dropped by kernel') dropped of them; $adds"
}

# Whether two programs have printed as many packets.  as_many NAME NAME
as_many() {
    [ "$(grep -c '^IP' "$W/$1.out")" -eq "$(grep -c '^IP' "$W/$2.out")" ]
}

# Connections from all CPUs to all CPUs: three with a real-time priority and three without it from each.
everyone_talks() {
    for number in $(seq 0 7); do
        talk $number chrt --fifo 1 &
        echo $! >"$W/talk.$number.fifo"
        talk $number chrt --other 0 &
        echo $! >"$W/talk.$number.other"
    done
    for file in "$W"/talk.*; do
        wait "$(cat "$file")" || die "a connection failed"
        rm "$file"
    done
    await 'the connections end' no_connection ''
    await 'the connections end there' no_connection 'ip netns exec peer'
}

# talk CPU PRIORITY..
talk() {
    local cpu=$1 step back
    shift
    for step in 1 3 6; do
        back=$(head -c 20000 /dev/zero |
            taskset $(mask_of $cpu) "$@" nc -w 60 10.0.0.2 900$(((cpu + step) % 8)) | wc -c)
        [ "$back" -eq 20000 ] || { echo "$back of 20000 bytes came back to CPU $cpu"; return 1; }
    done
}

# What taskset takes for a CPU.  mask_of NUMBER
mask_of() {
    printf '%x' $((1 << $1))
}

# Whether there are servers on the ports from 9000 (hexadecimal 2328) to 9007.
listen_on_all() {
    [ "$(ip netns exec peer cat /proc/net/tcp6 | grep -c ':23\(2[89A-F]\) .* 0A ')" -eq 8 ]
}

# Whether every socket but those that listen (state 0A) or wait for nothing but time (06) has gone.
no_connection() {
    [ "$($1 cat /proc/net/tcp /proc/net/tcp6 | grep -v 'sl ' | grep -cv ': [0-9A-F:]* [0-9A-F:]* \(0A\|06\) ')" -eq 0 ]
}

# How the programs that are loaded add to their counters: atomically with PREEMPT_RT, and only there.
additions() {
    local number wanted=plain adds
    ! is_real_time || wanted=atomic
    bpftool prog show | sed -n 's/^\([0-9]*\): .* name tc_.*/\1/p' >"$W/programs"
    [ "$(wc -l <"$W/programs")" -ge 4 ] || die "bpftool sees $(wc -l <"$W/programs") programs"
    while read -r number; do
        bpftool prog dump xlated id $number >"$W/program.$number"
        grep -q 'exit' "$W/program.$number" || die "bpftool does not show program $number"
        adds=plain
        # All CPUs count together what is lost of an interface: these two additions are always atomic.
        [ "$(grep -c 'lock \*(u64 \*)' "$W/program.$number")" -le 2 ] || adds=atomic
        [ $adds = $wanted ] || die "program $number makes $adds additions instead of $wanted ones"
    done <"$W/programs"
    echo "$wanted additions"
}
