"""INNA where a library wants more than a class: `inna.integrations.timm`, `inna.integrations.fastai`.

Everywhere else the class is enough; docs/integrations.md has a line for each library.
"""
