http_config { allow_write_http_from = ["10.0.0.0/8", "::1/128"] response_headers { X = "y" } block_endpoints = ["/v1/kv"] }
limits { http_max_conns_per_client = 7 }
telemetry { prometheus_retention_time = "0s" }
