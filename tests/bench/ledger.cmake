tidal_program(bench_ledger SOURCES bench_ledger.c LINKS tidal_signal)
