"""Where a real camera stands and how it sees, from a printed board or from the arm itself; what is to be moved then.

``board`` and ``board_pose`` look at a ChArUco board, ``foreground``, ``silhouette`` and ``matching`` at the arm; both
end in a ``found.FoundCamera``, which ``report`` compares with the camera that a policy was trained with.
"""
