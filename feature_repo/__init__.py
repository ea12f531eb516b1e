from feature_repo.light_feast import install

install()
