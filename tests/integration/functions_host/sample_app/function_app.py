"""A function app that uses all that the local host offers; the tests drive it."""

import azure.durable_functions as df
import azure.functions as func
import http_functions
import orchestrations
import random_programs
import triggers

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for blueprint in (http_functions.bp, orchestrations.bp, random_programs.bp, triggers.bp):
    app.register_functions(blueprint)
