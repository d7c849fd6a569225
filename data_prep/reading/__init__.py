"""From input files to documents: what is damaged, hostile or foreign stops here."""
