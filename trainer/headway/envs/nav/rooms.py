"""Buildings: a corridor, rooms on both sides divided by walls with doors, furniture that leaves the doors free."""

import math

import numpy as np

from headway.envs.nav.clutter import place_rectangle
from headway.envs.nav.jit import kernel
from headway.envs.nav.philox import LAYOUT, integer, uniforms
from headway.envs.nav.shapes import FREE, OBSTACLE, add_box, add_disc

f32 = np.float32
ONE, NOTHING = np.int64(1), np.int64(0)
FIRST_DRAW = np.int64(20000)
FURNITURE_DRAW = np.int64(22000)
PIECES = 400  # of furniture tried
TRIES = 6  # places tried for one wall
APRON = 4  # cells kept free before and behind a door


@kernel
def _push(stack, top, x, y, across, along):
    """Put a rectangle of cells on the stack, four entries a rectangle; returns the new top."""
    stack[top] = x
    stack[top + 1] = y
    stack[top + 2] = across
    stack[top + 3] = along
    return top + 4


@kernel
def _note_door(doors, ends, upright, at, gap, door):
    """Note a door of the wall at `at` with its aprons, below `ends`; returns the new end of `doors`."""
    ends -= 4
    if upright:
        _push(doors, ends, at - APRON, gap, 2 * APRON + 1, door)
    else:
        _push(doors, ends, gap, at - APRON, door, 2 * APRON + 1)
    return ends


@kernel
def _build_wall(world, doors, ends, upright, at, first, length, door, key, attempt, draw):
    """Build a wall of one cell with a door; notes the door, with its aprons, from the end of `doors` on downwards."""
    door = min(door, length)
    gap = first + integer(key, LAYOUT, attempt, draw, length - door + 1)
    for k in range(first, first + length):
        if k < gap or k >= gap + door:
            if upright:
                world.grid[k, at] = OBSTACLE
            else:
                world.grid[at, k] = OBSTACLE
    return _note_door(doors, ends, upright, at, gap, door)


@kernel
def _carve(world, doors, ends, upright, at, first, length, door, key, attempt, draw):
    """Open one more door in a wall that stands; returns the new end of `doors`."""
    door = min(door, length)
    gap = first + integer(key, LAYOUT, attempt, draw, length - door + 1)
    for k in range(gap, gap + door):
        if upright:
            world.grid[k, at] = FREE
        else:
            world.grid[at, k] = FREE
    return _note_door(doors, ends, upright, at, gap, door)


@kernel
def _stands(grid, upright, at, before, behind):
    """Say whether a wall at `at` would meet walls, not doors, at both of its ends, with a cell to spare."""
    for k in range(at - 1, at + 2):
        if upright and (grid[before, k] != OBSTACLE or grid[behind, k] != OBSTACLE):
            return False
        if not upright and (grid[k, before] != OBSTACLE or grid[k, behind] != OBSTACLE):
            return False
    return True


@kernel
def _divide(world, stack, top, ends, stage, key, attempt):
    """Divide the rectangles on the stack until no side is long enough for two rooms. Returns the end of the doors."""
    room = int(stage.small / stage.cell)
    door = np.int64(math.ceil(stage.large / stage.cell))
    draw = FIRST_DRAW + 100
    while top > 0:
        top -= 4
        x = np.int64(stack[top])
        y = np.int64(stack[top + 1])
        across = np.int64(stack[top + 2])
        along = np.int64(stack[top + 3])
        upright = across >= along
        side = across if upright else along
        length = along if upright else across
        spare = side - 2 * room
        if spare < 1 or top + 8 >= ends - 4:
            continue
        for _ in range(TRIES):
            draw += 2
            offset = room + integer(key, LAYOUT, attempt, draw, spare)
            at = (x if upright else y) + offset
            first = y if upright else x
            if not _stands(world.grid, upright, at, first - 1, first + length):
                continue
            ends = _build_wall(world, stack, ends, upright, at, first, length, door, key, attempt, draw + 1)
            if upright:
                top = _push(stack, top, x, y, offset, along)
                top = _push(stack, top, at + 1, y, across - offset - 1, along)
            else:
                top = _push(stack, top, x, y, across, offset)
                top = _push(stack, top, x, at + 1, across, along - offset - 1)
            break
    return ends


@kernel
def _corridor(world, stack, ends, stage, key, attempt):
    """Build the corridor's two walls and their doors; puts both sides on the stack. Returns (top, end of the doors)."""
    side = np.int64(stage.width) - 2
    u0, u1, u2, _ = uniforms(key, LAYOUT, attempt, FIRST_DRAW)
    upright = u0 < f32(0.5)
    door = np.int64(math.ceil(stage.large / stage.cell))
    wide = door + 2 + int(u1 * f32(4.0))
    room = int(stage.small / stage.cell)
    spare = side - wide - 2 - 2 * room
    if spare < 1:
        return _push(stack, NOTHING, ONE, ONE, side, side), ends
    first = 1 + room + int(u2 * f32(spare))
    second = first + 1 + wide
    draw = FIRST_DRAW + 1
    for k in range(2):
        at = first if k == 0 else second
        ends = _build_wall(world, stack, ends, upright, at, ONE, side, door, key, attempt, draw)
        draw += 1
        for _ in range(side // (2 * room)):
            ends = _carve(world, stack, ends, upright, at, ONE, side, door, key, attempt, draw)
            draw += 1
    if upright:
        top = _push(stack, NOTHING, ONE, ONE, first - 1, side)
        return _push(stack, top, second + 1, ONE, side - second, side), ends
    top = _push(stack, NOTHING, ONE, ONE, side, first - 1)
    return _push(stack, top, ONE, second + 1, side, side - second), ends


@kernel
def _is_free(grid, doors, ends, x, y, across, along):
    """Say whether a piece of furniture can stand on these cells: nothing there, and no door."""
    height, width = grid.shape
    if x < 1 or y < 1 or x + across > width - 1 or y + along > height - 1:
        return False
    for k in range(ends, doors.shape[0] - 3, 4):
        beside = x >= doors[k] + doors[k + 2] or doors[k] >= x + across
        if not beside and y < doors[k + 1] + doors[k + 3] and doors[k + 1] < y + along:
            return False
    for cy in range(y, y + along):
        for cx in range(x, x + across):
            if grid[cy, cx] == OBSTACLE:
                return False
    return True


@kernel
def _furnish(world, doors, ends, stage, key, attempt, wanted):
    """Shelves along walls, round tables and desks at an angle, until so many cells are covered."""
    height, width = world.grid.shape
    covered = 0
    for piece in range(PIECES):
        if covered >= wanted:
            break
        u0, u1, u2, u3 = uniforms(key, LAYOUT, attempt, FURNITURE_DRAW + 2 * piece)
        v0, v1, _, _ = uniforms(key, LAYOUT, attempt, FURNITURE_DRAW + 2 * piece + 1)
        x = 1 + int(u0 * f32(width - 2))
        y = 1 + int(u1 * f32(height - 2))
        if u2 < f32(0.5):  # a shelf, 0.4 m deep and 0.8 to 1.6 m long, pushed against a wall
            long = 4 + int(v0 * f32(5.0))
            lying = u3 < f32(0.5)
            across = long if lying else 2
            along = 2 if lying else long
            step = -1 if v1 < f32(0.5) else 1
            if not _is_free(world.grid, doors, ends, x, y, across, along):
                continue
            while _is_free(
                world.grid, doors, ends, x + (0 if lying else step), y + (step if lying else 0), across, along
            ):
                x += 0 if lying else step
                y += step if lying else 0
            covered += place_rectangle(world.grid, np.int64(height), np.int64(width), x, y, across, along)
        else:  # a table or a desk, with a cell free on all sides
            reach = (f32(0.25) + f32(0.3) * v0) / stage.cell
            box = np.int64(math.ceil(reach)) + 1
            if not _is_free(world.grid, doors, ends, x - box, y - box, 2 * box + 1, 2 * box + 1):
                continue
            if u3 < f32(0.5):
                add_disc(world, f32(x) + f32(0.5), f32(y) + f32(0.5), reach)
            else:
                add_box(
                    world, f32(x) + f32(0.5), f32(y) + f32(0.5), f32(1.7) * reach, f32(1.0) * reach, v1 * f32(math.pi)
                )
            covered += int(f32(2.5) * reach * reach)


@kernel
def build_rooms(world, stack, stage, key, attempt, easing):
    """Build the walls, then furnish. `stack` is scratch: rectangles from its beginning, doors from its end."""
    room = stack.shape[0] // 4 * 4
    top, ends = _corridor(world, stack[:room], room, stage, key, attempt)
    ends = _divide(world, stack[:room], top, ends, stage, key, attempt)
    wanted = int(stage.fill * easing * f32((stage.height - 2) * (stage.width - 2)))
    _furnish(world, stack[:room], ends, stage, key, attempt, wanted)
