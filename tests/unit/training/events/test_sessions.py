from training.events.sessions import draw_sessions
from training.events.simulated import SimulatedWorld
from training.events.world import DAY_US, WorldParameters, start_us

DAY = 9


def test_sessions_begin_on_their_day_and_never_before_the_user_joined() -> None:
    parameters = WorldParameters(num_users=3_000, num_titles=400, sessions_per_user_day=1.0)
    demand = SimulatedWorld(parameters)._demand
    sessions = draw_sessions(demand, DAY)
    begins = start_us(demand.parameters.first_day) + DAY * DAY_US

    assert ((sessions.at_us >= begins) & (sessions.at_us < begins + DAY_US)).all()
    assert (demand.users.joined[sessions.user] <= DAY).all()
