# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_qrng_global_optspecs
    string join \n h/help V/version
end

function __fish_qrng_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_qrng_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_qrng_using_subcommand
    set -l cmd (__fish_qrng_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c qrng -n "__fish_qrng_needs_command" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_needs_command" -s V -l version -d 'Print version'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "keygen" -d 'Make the two key files of a link: one for the gateway, one for the collector'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "status" -d 'Show what the daemons on this machine do (exit code 0: serving, 1: not serving, 2: nothing found)'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "top" -d 'Show what the gateway does, live in this terminal (q: quit)'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "clear" -d 'Let a daemon go on that health tests have stopped for good, once the noise source is mended'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "assess" -d 'Say whether anything about random bytes is odd (exit code 0: passed, 1: failed, 2: could not)'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "doctor" -d 'Say whether the collector can use this host\'s devices, and what mends it if not (exit code 0: nothing missing, 1: something, 2: cannot look)'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "mcp" -d 'Give a language model random bytes and numbers: tools of the Model Context Protocol, over standard input and output'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "demo" -d 'Run a collector and a gateway here with simulated noise, and leave nothing behind'
complete -c qrng -n "__fish_qrng_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c qrng -n "__fish_qrng_using_subcommand keygen" -l out -d 'Directory to write into' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand keygen" -l name -d 'First part of both file names: letters, digits, `-`, `_` and `.`' -r
complete -c qrng -n "__fish_qrng_using_subcommand keygen" -l days -d 'Make a calendar instead: a key for each of so many days, which the gateway destroys when they are over' -r
complete -c qrng -n "__fish_qrng_using_subcommand keygen" -l from -d 'First day of the calendar, as YYYY-MM-DD in UTC [default: today]' -r
complete -c qrng -n "__fish_qrng_using_subcommand keygen" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand status" -l mount -d 'Directory where the gateway\'s files are mounted' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand status" -l collector-runtime -d 'The collector\'s runtime directory' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand status" -l json -d 'Print the documents themselves, as one JSON object'
complete -c qrng -n "__fish_qrng_using_subcommand status" -l once -d 'Take one sample only: answers at once, without rates'
complete -c qrng -n "__fish_qrng_using_subcommand status" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand top" -l mount -d 'Directory where the gateway\'s files are mounted' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand top" -l stream -d 'Ask at this stream socket instead' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand top" -l once -d 'Print what there is to see after a second, as text, and end'
complete -c qrng -n "__fish_qrng_using_subcommand top" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand clear" -l gateway -d 'Clear the gateway with this runtime directory' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand clear" -l collector -d 'Clear the collector with this runtime directory' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand clear" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand assess" -l bytes -d 'How many bytes to assess at most, such as "64 MiB" [default: 16 MiB]' -r
complete -c qrng -n "__fish_qrng_using_subcommand assess" -l html -d 'Write the report with pictures here, as one file for a browser' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand assess" -l quick -d 'A quick look: at most 1 MiB'
complete -c qrng -n "__fish_qrng_using_subcommand assess" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand doctor" -l config -d 'The collector\'s configuration: check it, and judge the devices that it names and the way to its gateways' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand doctor" -l adapter -d 'The adapter\'s configuration: check it, and whether its gateway has bytes for it' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand doctor" -l user -d 'Whom the devices are for; by default `qrng-collector` if there is such a user, or else you' -r
complete -c qrng -n "__fish_qrng_using_subcommand doctor" -l root -d 'Where the file system of the host begins' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand doctor" -l json -d 'Print one JSON object for programs'
complete -c qrng -n "__fish_qrng_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand mcp" -l mount -d 'Take bytes from the gateway whose files are here' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand mcp" -l stream -d 'Take bytes from the gateway that listens at this stream socket' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand mcp" -l ca-file -d 'Certificates (PEM) of the authorities by which a remote gateway is verified' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand mcp" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand demo" -l seconds -d 'End after so many seconds of service; without it, Ctrl-C ends the demonstration' -r
complete -c qrng -n "__fish_qrng_using_subcommand demo" -l mount -d 'Mount the files here (an empty directory, or one to be made and removed)' -r -F
complete -c qrng -n "__fish_qrng_using_subcommand demo" -l rate -d 'Rate of the simulated card: pcie-4m, pcie-16m, chip-40m, chip-240m, usb-4m, unlimited or e.g. "5 MB/s"' -r
complete -c qrng -n "__fish_qrng_using_subcommand demo" -s h -l help -d 'Print help'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "keygen" -d 'Make the two key files of a link: one for the gateway, one for the collector'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "status" -d 'Show what the daemons on this machine do (exit code 0: serving, 1: not serving, 2: nothing found)'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "top" -d 'Show what the gateway does, live in this terminal (q: quit)'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "clear" -d 'Let a daemon go on that health tests have stopped for good, once the noise source is mended'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "assess" -d 'Say whether anything about random bytes is odd (exit code 0: passed, 1: failed, 2: could not)'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "doctor" -d 'Say whether the collector can use this host\'s devices, and what mends it if not (exit code 0: nothing missing, 1: something, 2: cannot look)'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "mcp" -d 'Give a language model random bytes and numbers: tools of the Model Context Protocol, over standard input and output'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "demo" -d 'Run a collector and a gateway here with simulated noise, and leave nothing behind'
complete -c qrng -n "__fish_qrng_using_subcommand help; and not __fish_seen_subcommand_from keygen status top clear assess doctor mcp demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
