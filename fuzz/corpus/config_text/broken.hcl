a = { b = [1, "two ${ } x", <<EOF
no end
