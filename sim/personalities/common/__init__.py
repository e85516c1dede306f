"""What the standards ask of every modem: commands of 3GPP TS 27.007 that the families have in common."""
