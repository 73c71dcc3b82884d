tidal_program(bench_mesh SOURCES bench_mesh.c LINKS tidal_wire tidal_topology tidal::zmq)
