//! Questions to the graph of features, in linear time and without recursion.

use std::collections::{HashSet, VecDeque};

use super::document::Feature;

/// Which features are effective. Those in a circle, or behind an unknown name, never get there.
pub(super) fn effective(features: &[Feature], dependents: &[Vec<usize>]) -> Vec<bool> {
    // How many dependencies are not known to be effective; an unknown one never will be.
    let mut waiting: Vec<usize> = features
        .iter()
        .map(|feature| feature.dependencies.iter().collect::<HashSet<_>>().len())
        .collect();
    let ready = |at: usize, waiting: &[usize]| {
        waiting.get(at) == Some(&0) && features.get(at).is_some_and(|feature| feature.on)
    };
    let mut effective = vec![false; features.len()];
    let mut queue: VecDeque<usize> = (0..features.len()).filter(|at| ready(*at, &waiting)).collect();
    while let Some(at) = queue.pop_front() {
        if let Some(known) = effective.get_mut(at) {
            *known = true;
        }
        for next in dependents.get(at).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(*next) {
                *count = count.saturating_sub(1);
            }
            if ready(*next, &waiting) {
                queue.push_back(*next);
            }
        }
    }
    effective
}

/// The strongly connected groups that are circles (Tarjan), each sorted, in the order of their first member.
pub(super) fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    #[derive(Clone, Copy)]
    struct Mark {
        order: usize,
        low: usize,
        stacked: bool,
    }
    let mut marks = vec![
        Mark {
            order: UNSEEN,
            low: 0,
            stacked: false
        };
        edges.len()
    ];
    let (mut stack, mut groups, mut order) = (Vec::new(), Vec::new(), 0);
    for root in 0..edges.len() {
        if marks[root].order != UNSEEN {
            continue;
        }
        // A node and how many of its edges have been followed.
        let mut path = vec![(root, 0)];
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            if *followed == 0 && marks[node].order == UNSEEN {
                marks[node] = Mark {
                    order,
                    low: order,
                    stacked: true,
                };
                order += 1;
                stack.push(node);
            }
            if let Some(next) = edges[node].get(*followed) {
                *followed += 1;
                if marks[*next].order == UNSEEN {
                    path.push((*next, 0));
                } else if marks[*next].stacked {
                    marks[node].low = marks[node].low.min(marks[*next].order);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                marks[*parent].low = marks[*parent].low.min(marks[node].low);
            }
            if marks[node].low == marks[node].order {
                let mut group = Vec::new();
                while let Some(member) = stack.pop() {
                    marks[member].stacked = false;
                    group.push(member);
                    if member == node {
                        break;
                    }
                }
                if group.len() > 1 || edges[node].contains(&node) {
                    group.sort_unstable();
                    groups.push(group);
                }
            }
        }
    }
    groups.sort_unstable();
    groups
}
