from hypothesis import settings

settings.register_profile("inna", deadline=None)  # a busy machine is no failure
settings.load_profile("inna")
