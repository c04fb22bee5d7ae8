"""Serve predictions over HTTP, with FastAPI and uvicorn around predictors.

Input: predictors and limits. Output: a server that answers POST /predict and survives any request. A request passes
limits (connection, rate, size), schema (strict JSON) and checks (the model's), and waits in the batcher, which runs the
rows of many clients through the model together.
"""
