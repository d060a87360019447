"""Promoted models."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.dependencies import GUARDED, ModelId, Reader, StateDep
from service.core.problems import described
from service.schemas.records import Metric, ModelDetail, ModelList, ModelSummary

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get("", responses=described(*GUARDED))
async def list_models(state: StateDep, _reader: Reader) -> ModelList:
    """List the promoted models."""
    served = await state.run(state.registry.served)
    return ModelList(models=[ModelSummary(**promoted.summary()) for promoted in served])


@router.get("/{model_id}", responses=described(*GUARDED, "unknown-model", "retired-model", "invalid-request"))
async def show_model(model_id: ModelId, state: StateDep, _reader: Reader) -> ModelDetail:
    """Show a model: its training data and its out-of-sample results."""
    promoted = await state.run(state.registry.current, model_id)
    versions = await state.run(state.registry.versions, model_id)
    evidence = promoted.evidence
    return ModelDetail(
        **promoted.summary(),
        data_hash=evidence.data_hash,
        features=list(evidence.features),
        history_days=evidence.history,
        fill=evidence.fill,
        verdict=evidence.verdict,
        agreement=evidence.agreement,
        out_of_sample={name: Metric(**values) for name, values in evidence.metrics.items()},
        evaluated=evidence.evaluated,
        notes=list(evidence.notes),
        versions=versions,
    )
