"""Online prediction over HTTP: FastAPI and uvicorn around predictors.

Input: predictors and limits. Output: a server that answers POST /predict, and survives what it is sent. A request
goes through limits (connection, rate, size), schema (strict JSON), checks (the model's), and waits in the batcher,
which runs the rows of many clients through the model together.
"""
