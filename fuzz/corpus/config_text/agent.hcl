datacenter = "EU-1" node_name = "n" node_id = "7d1f3a5c-0c4d-4a53-9c3b-0f1b7d7ad6f1"
data_dir = "/d" advertise_addr = "[2001:db8::1]" domain = "d."
check_update_interval = "0s" check_output_max_size = 1000 reconnect_timeout = "9h"
max_query_time = "2m" default_query_time = 1500000000
limits { http_max_conns_per_client = 7 http_max_body_bytes = 2048 }
telemetry { prometheus_retention_time = "30s" metrics_prefix = "m" }
unix_sockets { user = "u" mode = "0660" }
http_config { block_endpoints = ["/v1/kv"] response_headers { A = "b" } }
client_addr = "127.0.0.1 [::1] {{ GetPrivateIP | join \" \" }}"
addresses { http = "unix:///run/x.sock 10.0.0.1" dns = "0.0.0.0" }
ports { http = 1 grpc = -1 } ports { serf_lan = 0 }
acl { tokens { agent = "x" } } watches = [{ type = "key" }]
service { name = "web" check { ttl = "10s" } } service { name = "db" }
