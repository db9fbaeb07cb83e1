"""The addresses of the page: what each of them answers, and how much may go on at once."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

from protolens import __version__
from protolens.data.pictures import to_png
from protolens.errors import ProtolensError
from protolens.evaluation import doctor
from protolens.report.page import SHARED, resource
from protolens.serve.asking import Asking
from protolens.serve.exhibit import UPLOAD
from protolens.serve.guard import LOOPBACK, Guard
from protolens.serve.jobs import BusyError, Job
from protolens.serve.maps import Place
from protolens.serve.planes import plane
from protolens.serve.shelf import Shelf
from protolens.serve.showing import illnesses_of, of_prototype, of_run, titles, why
from protolens.serve.uploads import LARGEST

if TYPE_CHECKING:
    from fastapi import FastAPI

T = TypeVar("T")
STATIC = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
AT_ONCE = 2  # questions that are answered at a time; the others wait their turn
REMEMBERED = 256  # explanations
MOST_CARDS = 200
KEEP = {"cache-control": "private, max-age=86400, immutable"}


class Desk:
    """Where quick questions are answered, a few at a time, away from the loop that talks to clients."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="protolens-desk")
        self.known: OrderedDict[object, bytes] = OrderedDict()

    async def ask(self, work: Callable[[], T]) -> T:
        """What the work gives."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    async def json(self, work: Callable[[], Any], key: object = None) -> Any:
        """The answer as JSON; one with a key is remembered for a while."""
        from fastapi import Response

        content = self.known.get(key) if key is not None else None
        if content is None:
            content = await self.ask(lambda: to_json(work()))
            if key is not None:
                self.known[key] = content
                while len(self.known) > REMEMBERED:
                    self.known.popitem(last=False)
        return Response(content, media_type="application/json")


def to_json(content: Any) -> bytes:
    """Compact; what is no number is none."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def make_app(shelf: Shelf, token: str | None = None, hosts: tuple[str, ...] = LOOPBACK) -> "Guard":
    """The application over these runs, as ASGI. token: what a client has to know; hosts: names of this server."""
    from contextlib import asynccontextmanager

    from fastapi import FastAPI

    asking, desk = Asking(shelf), Desk()

    @asynccontextmanager
    async def life(_: Any) -> Any:
        yield
        asking.jobs.close()
        desk.pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="protolens", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=life
    )
    add_errors(app)
    add_files(app)
    add_runs(app, asking, desk)
    add_images(app, asking, desk)
    add_work(app, asking, desk)
    add_edits(app, asking, desk)
    return Guard(app, hosts, token, {"uploads": LARGEST})


def add_errors(app: "FastAPI") -> None:
    """Whatever goes wrong is one sentence."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException

    async def known(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 503 if isinstance(error, BusyError) else 400)

    async def wrong(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    async def other(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        said = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
        return JSONResponse({"error": said}, error.status_code)

    app.add_exception_handler(ProtolensError, known)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(HTTPException, other)


def add_files(app: "FastAPI") -> None:
    """The page itself: files beside this one, read once."""
    from fastapi import Response

    folder = resources.files("protolens.serve") / "static"
    files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
    files |= {name: resource(name).encode() for name in SHARED} | {"base.css": resource("style.css").encode()}

    def send(name: str) -> Response:
        ending = name.rpartition(".")[2]
        return Response(files[name], media_type=STATIC[ending], headers={"cache-control": "no-cache"})

    @app.get("/")
    async def index() -> Response:
        return send("index.html")

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in files:
            raise ProtolensError(f"there is no file {name}")
        return send(name)


def add_runs(app: "FastAPI", asking: Asking, desk: Desk) -> None:
    """What there is: runs, prototypes, comparisons."""
    from fastapi import Response

    shelf = asking.shelf

    @app.get("/api/runs")
    async def runs() -> Response:
        return await desk.json(
            lambda: {
                "version": __version__,
                "titles": titles(),
                "runs": [of_run(exhibit) for exhibit in shelf.exhibits.values()],
            }
        )

    @app.get("/api/runs/{run}/methods")
    async def methods(run: str) -> Response:
        return await desk.json(lambda: asking.maps.methods(shelf.find(run)), ("methods", run))

    @app.get("/api/runs/{run}/prototypes")
    async def prototypes(run: str) -> Response:
        def work() -> dict[str, Any]:
            exhibit = shelf.find(run)
            ill = illnesses_of(exhibit)
            found = [of_prototype(exhibit, each, ill["by_prototype"]) for each in exhibit.prototypes]
            return {"prototypes": found, "asked": ill["asked"], "healthy": ill["healthy"]}

        return await desk.json(work)

    @app.get("/api/runs/{run}/prototypes/{number}/{kind}.png")
    async def picture(run: str, number: int, kind: str) -> Response:
        def work() -> bytes:
            found = shelf.find(run).prototypes
            if not 0 <= number < len(found):
                raise ProtolensError(f"there is no prototype {number}")
            chosen = found[number].decoded if kind == "decoded" else found[number].nearest
            return (chosen or found[number].nearest).content

        return Response(await desk.ask(work), media_type="image/png", headers=KEEP)

    @app.get("/api/runs/{run}/confusion")
    async def confusion(run: str, split: str = "") -> Response:
        return await desk.json(lambda: asking.confusion(shelf.find(run), split))

    @app.get("/api/compare")
    async def compare(runs: str) -> Response:
        return await desk.json(lambda: asking.compare(runs.split(",")), ("compare", runs))


def add_images(app: "FastAPI", asking: Asking, desk: Desk) -> None:
    """Images, what is said of them, and why."""
    from fastapi import Request, Response

    shelf = asking.shelf

    @app.get("/api/runs/{run}/images")
    async def images(
        run: str,
        split: str = "",
        order: str = "number",
        other: str = "",
        prototype: int = 0,
        label: str = "",
        predicted: str = "",
        start: int = 0,
        count: int = 48,
    ) -> Response:
        def work() -> dict[str, Any]:
            exhibit = shelf.find(run)
            chosen = split or exhibit.splits[0]
            logits = asking.logits_beside(exhibit, other, chosen) if other else None
            rows = exhibit.sorted(chosen, order, logits, prototype, label, predicted)
            first = max(0, start)
            shown = rows[first : first + max(1, min(count, MOST_CARDS))]
            return {"split": chosen, "total": len(rows), "images": exhibit.cards(chosen, shown)}

        return await desk.json(work)

    @app.get("/api/runs/{run}/image/{split}/{index}.png")
    async def image(run: str, split: str, index: str) -> Response:
        content = await desk.ask(lambda: to_png(shelf.find(run).pixels(split, index)))
        return Response(content, media_type="image/png", headers=KEEP)

    @app.get("/api/runs/{run}/why/{split}/{index}")
    async def explain(run: str, split: str, index: str, target: str | None = None) -> Response:
        return await desk.json(
            lambda: why(shelf.find(run), split, index, target or None), ("why", run, split, index, target)
        )

    @app.post("/api/uploads")
    async def upload(request: Request) -> Response:
        content = await request.body()
        return await desk.json(lambda: {"split": UPLOAD, "index": shelf.uploads.add(content)})


def add_work(app: "FastAPI", asking: Asking, desk: Desk) -> None:
    """What takes longer: begun, looked after, stopped."""
    from fastapi import Response

    shelf = asking.shelf

    def told(job: Job) -> Response:
        return Response(to_json(job.facts()), media_type="application/json")

    async def begun(work: Callable[[], Job]) -> Response:
        return told(await desk.ask(work))

    @app.post("/api/runs/{run}/maps/{split}/{index}/{method}")
    async def make_map(run: str, split: str, index: str, method: str, target: str | None = None) -> Response:
        def work() -> Job:
            exhibit = shelf.find(run)
            number = asking.class_of(exhibit, split, index, target or None)
            place: Place = (run, split, index, exhibit.task.classes[number])
            about = f"{titles().get(method, method)} of {run}"
            return asking.jobs.start(
                "maps", (place, method), about, lambda job: asking.maps.make(job, exhibit, place, method, number)
            )

        return await begun(work)

    @app.post("/api/runs/{run}/plane/{kind}")
    async def make_plane(run: str, kind: str) -> Response:
        exhibit = shelf.find(run)
        return await begun(
            lambda: asking.jobs.start(
                "long", ("plane", run, kind), "map of codes", lambda job: plane(job, exhibit, kind)
            )
        )

    @app.post("/api/runs/{run}/doctor")
    async def examine(run: str) -> Response:
        exhibit = shelf.find(run)

        def work(_: Job) -> dict[str, Any]:
            return {"healthy": doctor(exhibit.run, device="cpu")["healthy"]}

        return await begun(lambda: asking.jobs.start("long", ("doctor", run), "examination", work))

    @app.get("/api/jobs/{number}")
    async def look(number: str) -> Response:
        return told(asking.jobs.find(number))

    @app.delete("/api/jobs/{number}")
    async def cancel(number: str) -> Response:
        return told(asking.jobs.cancel(number))


def add_edits(app: "FastAPI", asking: Asking, desk: Desk) -> None:
    """Edits: what would come of them, and a new run with them."""
    from fastapi import Request, Response

    shelf = asking.shelf

    async def read(request: Request) -> dict[str, Any]:
        try:
            content = json.loads(await request.body())
        except ValueError:
            raise ProtolensError("the edits are no JSON") from None
        if not isinstance(content, dict) or not isinstance(content.get("edits"), list):
            raise ProtolensError('edits are missing: {"edits": [...]}')
        return content

    @app.post("/api/runs/{run}/bench")
    async def bench(run: str) -> Response:
        job = await desk.ask(lambda: asking.open_bench(shelf.find(run)))
        return Response(to_json(job.facts()), media_type="application/json")

    @app.post("/api/runs/{run}/edit")
    async def edit(run: str, request: Request) -> Response:
        content = await read(request)
        return await desk.json(lambda: asking.consequences(shelf.find(run), content["edits"]))

    @app.post("/api/runs/{run}/edit-slowly")
    async def edit_slowly(run: str, request: Request) -> Response:
        content = await read(request)
        job = await desk.ask(lambda: asking.consequences_later(shelf.find(run), content["edits"]))
        return Response(to_json(job.facts()), media_type="application/json")

    @app.post("/api/runs/{run}/save")
    async def save(run: str, request: Request) -> Response:
        content = await read(request)
        name = content.get("name")
        job = await desk.ask(lambda: asking.save(shelf.find(run), content["edits"], name))
        return Response(to_json(job.facts()), media_type="application/json")
