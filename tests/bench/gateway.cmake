tidal_program(bench_gateway SOURCES bench_gateway.c LINKS tidal_gateway tidal_sim_disk)
