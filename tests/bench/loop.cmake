tidal_program(bench_loop SOURCES bench_loop.c LINKS tidal_env)
tidal_program(bench_proxy SOURCES bench_proxy.c LINKS tidal_proxy_shell)
