"""The controller and the worlds it is trained in. Light at import: ``argos_sim.deploy`` runs on a robot."""
