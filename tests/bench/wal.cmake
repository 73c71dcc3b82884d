tidal_program(bench_wal SOURCES bench_wal.c LINKS tidal_wal tidal_env)
