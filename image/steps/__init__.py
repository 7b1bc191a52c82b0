"""What image/build, image/run and image/flash are made of; one module a concern, standard library only."""
