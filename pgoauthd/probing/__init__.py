"""Logs in to PostgreSQL as Kong Gateway does and says which step failed and why; it never validates a token.

Core are parameters, kongconf, kongparameters, tokenrequest, tokenfacts, advice, steps and probejson; tlscontexts,
tokenclient, loginfailure, prober, histories, configured and periodic touch the world.
"""
