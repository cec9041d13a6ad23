"""The explorer: pages that show a bundle. Imports gradio, numpy and pandas; nothing heavier at start-up."""
