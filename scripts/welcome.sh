#!/bin/sh
# Says what to try while the server runs in this terminal.
cat <<END

    magnum serves on http://127.0.0.1:9511 with its data in $PWD/data; stop it with Ctrl-C.
    In another terminal:

        cd $PWD
        export PATH=\$PWD/target/release:\$PATH
        magnum bay-create --name web
        magnum container-create --name hello --bay web --image busybox:local --command 'echo hello'
        magnum container-start hello
        magnum container-logs hello
        magnum events tail

    The five-minute tour is in README.md.

END
