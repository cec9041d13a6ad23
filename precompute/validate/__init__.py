"""Planted truth: worlds with known answers that the audit itself is checked on."""
