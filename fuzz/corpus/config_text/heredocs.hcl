a = <<EOF
one ${x "y"}
  two
EOF
b = <<-END
    three
      four
    END
c = "x${f("a", {b = "}"})}y\x41\101\u00e9\U0001F600"
l = [<<EOF
in a list
EOF
, 1]
