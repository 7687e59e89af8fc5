complete -c qrng-adapter -s c -l config -d 'Configuration file (TOML)' -r -F
complete -c qrng-adapter -l parent -d 'The process that started this one, as it calls itself: seen even if it ends at once' -r
complete -c qrng-adapter -l check -d 'Check the configuration and the files that it names, say what is wrong, and end'
complete -c qrng-adapter -l die-with-parent -d 'End when the process that started this one ends'
complete -c qrng-adapter -l once -d 'Give the kernel\'s pool bytes once, and end: exit code 0 if it got them'
complete -c qrng-adapter -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qrng-adapter -s V -l version -d 'Print version'
