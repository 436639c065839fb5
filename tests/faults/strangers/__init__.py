"""An independent attacker: hostile texts, hostile folders and secrets against every command and every sink.

``payloads`` are texts, ``home`` makes a valid folder, ``texts`` plants payloads in it, ``folders`` makes it hostile,
``watch`` runs a command in a child that is watched, ``pages`` opens what was written in Chromium.
"""
