"""SQL from users and models: quoted, split into tokens, and checked under an authorizer before it runs."""
