# Meshes of real processes under faults; each suite starts and stops its own.
tidal_script_test(mesh_bad_input COMMAND tests/mesh/test_bad_input.py LABEL mesh TIMEOUT 180)
tidal_script_test(mesh_kill COMMAND tests/mesh/test_kill.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_managers COMMAND tests/mesh/test_process_managers.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_disk_full COMMAND tests/mesh/test_disk_full.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_disk_damage COMMAND tests/mesh/test_disk_damage.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_lost_disk COMMAND tests/mesh/test_lost_disk.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_restart COMMAND tests/mesh/test_restart.py LABEL mesh TIMEOUT 300)
tidal_script_test(mesh_demo COMMAND scripts/demo LABEL mesh TIMEOUT 180)
