# The checks of expressions. Sourced by init; see checks.sh.

# The expressions, with a number each.  numbered
numbered() {
    grep -v '^#' /filters.txt | grep . | awk '{ print NR, $0 }'
}

# Starts capture and tcpdump with an expression. All of them select the last packet, too: the marker comes first, because
# `vlan` moves what stands after it. tcpdump is asked for TCP alone.  filtered NUMBER EXPRESSION ARGUMENTS..
filtered() {
    local name=$1 expression="tcp port 9 or ($2)"
    shift 2
    # -q: tcpdump says otherwise what it takes the data for, by the port.
    start_capture $name.capture -t -q "$@" "$expression"
    shift_hook "$@"
    tcpdump -n -l -Z root -B 2048 -t -q $rest "tcp and ($expression)" >"$W/$name.tcpdump.out" 2>"$W/$name.tcpdump.err" &
    echo $! >"$W/$name.tcpdump.pid"
}

# Leaves in `rest` what tcpdump has of capture's arguments.
shift_hook() {
    rest="$*"
    rest=${rest%% --hook*}
}

# More servers, on the ports of the expressions.
servers() {
    local port
    for port in 80 443 22; do
        ip netns exec peer taskset 2 nc -ll -p $port -e cat &
    done
    for port in 0050 01BB 0016; do
        await 'the servers there listen' eval "ip netns exec peer grep -q ':$port .* 0A ' /proc/net/tcp6"
    done
}

await_filters() {
    local name
    for name in $(captures) $(oracles); do
        await "$name listens" has_started $name
    done
}

# Waits for the marker and compares. So many expressions have to select something else, too.
# compare_filters LINES EXPRESSIONS
compare_filters() {
    local name all=0
    for name in $(captures) $(oracles); do
        await_marker $1 $name
    done
    finish $(captures) $(oracles)
    for name in $(captures); do
        accounts $name
        same $1 ${name%.capture}.tcpdump $name
        # The last line is empty, as tcpdump's is after an interruption.
        [ "$(lines $name)" -le $(($1 + 1)) ] || all=$((all + 1))
    done
    [ $all -ge $2 ] || die "only $all expressions select anything"
    await 'the programs leave the kernel' no_programs
    note "$(captures | wc -l) expressions, $all of them select packets"
}

# Every expression of the list, at tc: all at once.
filters_tc() {
    network
    servers
    numbered >"$W/list"
    while read -r number expression; do
        filtered $number "$expression" -i veth0
    done <"$W/list"
    await_filters
    # libpcap runs the filter itself on the block of its ring that is being filled when the filter is set, and on those
    # that are full by then; there no packet is `outbound`. So the first packets are those that every expression
    # selects, and each round of them ends a block.
    for lines in 2 4 6; do
        marker 10.0.0.2
        for name in $(captures) $(oracles); do
            await_marker $lines $name
        done
    done
    for port in 8888 7777 80 443 22; do
        session 10.0.0.2 $port
    done
    session fd00::2 80
    bulk 10.0.0.2 3000
    marker 10.0.0.2
    compare_filters 8 25
}

# The same at XDP, which takes one program for a device: a pair of devices for each.
filters_xdp() {
    network
    has_xdp || { note no; return; }
    servers
    numbered >"$W/list"
    pairs "$(wc -l <"$W/list")"
    while read -r number expression; do
        filtered $number "$expression" -i pair$number -Q in --hook xdp-native
    done <"$W/list"
    await_filters
    while read -r number expression; do
        session 10.3.$number.2 80
        session 10.3.$number.2 443
        marker 10.3.$number.2
    done <"$W/list"
    compare_filters 1 12
}
