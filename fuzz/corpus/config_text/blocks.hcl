# an agent
datacenter = "dc1"
server     = true // one of three
ports { http = 8500 https = -1, dns = 0x2198 }
service "web" {
  port = 80, tags = ["a", "b",]
}
service "db" { port = 017 }
"quoted key" = 1.5e3
check { args = ["sh", "-c", "exit 0"] } check { ttl = "10s" }
/* block
   comment */
node_meta = { rack = "r\t1" }
