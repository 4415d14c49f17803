"""The server that tutorials teach: FastAPI, pydantic, joblib, pandas. No key, no record, no other version.

MODEL=model.joblib uvicorn textbook:app
"""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL"])


class Row(BaseModel):
    age: float | None = None
    income: float | None = None
    loan_amount: float | None = None
    loan_term: float | None = None
    credit_score: float | None = None
    debt_to_income: float | None = None
    num_accounts: float | None = None
    num_late: float | None = None
    utilization: float | None = None
    months_employed: float | None = None
    balance: float | None = None
    inquiries: float | None = None
    state: str | None = None
    home_ownership: str | None = None
    purpose: str | None = None
    employment_type: str | None = None
    channel: str | None = None


class Rows(BaseModel):
    rows: list[Row]


@app.post("/predict")
def predict(row: Row) -> dict[str, float]:
    share = model.predict_proba(pd.DataFrame([row.model_dump()]))[0, 1]
    return {"prediction": int(share > 0.5), "probability": float(share)}


@app.post("/predict_rows")
def predict_rows(body: Rows) -> dict[str, list[dict[str, float]]]:
    shares = model.predict_proba(pd.DataFrame([row.model_dump() for row in body.rows]))[:, 1]
    return {"predictions": [{"prediction": int(each > 0.5), "probability": float(each)} for each in shares]}
